//! Nonsense in the hash: one value that nobody wrote must not stop a replica from beginning, nor keep any divided.

use super::*;

/// In three seconds everybody must be over it.
const OVER_IT: Duration = Duration::from_secs(3);

impl World {
    /// Puts a word in the place of another; says whether that was there.
    fn spoil(&mut self, field: &str, place: usize, word: &str) -> bool {
        let text: String = redis::cmd("HGET").arg("limits").arg(field).query(&mut self.redis).unwrap();
        let mut words: Vec<&str> = text.split(' ').collect();
        let Some(spoilt) = words.get_mut(place) else { return false };
        *spoilt = word;
        redis::cmd("HSET").arg("limits").arg(field).arg(words.join(" ")).exec(&mut self.redis).unwrap();
        true
    }

    /// One more replica starts; then all lease.
    fn must_get_over_it(&mut self, fault: &str) {
        self.join();
        self.steps(OVER_IT);
        for index in 0..self.replicas.len() {
            assert!(self.replicas[index].limits.have_begun(), "{fault}: {index} has not begun");
            assert_eq!(self.mode(index), LimitMode::Leased, "{fault}: {index}");
        }
    }
}

#[test]
fn a_state_that_cannot_be_is_told_anew() {
    let mut world = World::new(quota(PLENTY, PLENTY, PLENTY), 1);
    // The run of the server, birth, last call, level, then start, gone and heard of each window.
    for place in 0..13 {
        for word in ["nan", "99999999999", "-5"] {
            if word == "99999999999" && matches!(place, 5 | 6 | 8 | 9 | 11 | 12) {
                // What cannot be told from what was given closes its window until it ends.
                continue;
            }
            // Two serve, and what the third one held is forgotten: there is something for whoever starts.
            world.replicas.truncate(2);
            world.flush();
            world.steps(Duration::from_millis(1_500));
            let fault = format!("{word} in place {place} of the state");
            assert!(world.spoil("s", place, word), "{fault}");
            world.must_get_over_it(&fault);
            // A minute may turn right here: then it gives with its next lease.
            let gives = (0..20).any(|_| {
                world.step();
                world.answers(2, 1) == 1
            });
            assert!(gives, "{fault}: the one that started gives nothing");
        }
    }
}

#[test]
fn a_row_that_cannot_be_is_told_anew() {
    let mut world = World::new(quota(PLENTY, PLENTY, PLENTY), 1);
    world.steps(Duration::from_secs(2));
    for place in 0..13 {
        for word in ["nan", "9007199254740991", "-5"] {
            let fault = format!("{word} in place {place} of a row");
            let name = world.replicas[1].name.clone();
            assert!(world.spoil(&name, place, word), "{fault}");
            world.steps(OVER_IT);
            for index in 0..3 {
                assert_eq!(world.mode(index), LimitMode::Leased, "{fault}: {index}");
            }
            assert_eq!(world.answers(1, 1), 1, "{fault}");
        }
    }
}

#[test]
fn a_serial_a_little_too_high_is_passed() {
    for ahead in [1, 1_000_000, (1 << 32) - 1] {
        let mut world = World::new(quota(PLENTY, PLENTY, PLENTY), 1);
        world.steps(Duration::from_secs(2));
        let name = world.replicas[0].name.clone();
        let row: String = redis::cmd("HGET").arg("limits").arg(&name).query(&mut world.redis).unwrap();
        let serial: u64 = row.split(' ').next().unwrap().parse().unwrap();
        assert!(world.spoil(&name, 0, &(serial + ahead).to_string()));
        world.steps(OVER_IT);
        assert_eq!((world.mode(0), world.answers(0, 1)), (LimitMode::Leased, 1), "ahead by {ahead}");
    }
}

/// Redis answers, and leases nothing for ever: whoever starts begins with its share.
#[test]
fn one_that_is_always_held_begins_alone() {
    let mut world = World::new(quota(PLENTY, 300, PLENTY), 1);
    for _ in 0..310 {
        world.flush();
        world.step();
    }
    assert!((0..3).all(|index| world.replicas[index].limits.have_begun()));
    assert_eq!((0..3).map(|index| world.answers(index, 1_000)).collect::<Vec<_>>(), [100; 3]);
}
