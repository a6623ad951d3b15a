use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::limits::testing::FakeClock;

const MS: Duration = Duration::from_millis(1);

/// A line over a clock that moves when told.
struct House {
    clock: Arc<FakeClock>,
    line: RegistryLine,
}

type Waits = Pin<Box<dyn Future<Output = Result<Place, Overloaded>> + Send>>;

impl House {
    fn with(places: usize, waiting_max: usize) -> Self {
        let clock = FakeClock::new();
        let (places_min, places_max) = (places, places);
        let options = LineOptions { places, places_min, places_max, waiting_max, wait_max: 100 * MS };
        Self { line: RegistryLine::new(options, Arc::clone(&clock) as _), clock }
    }

    fn enter(&self, class: Class, partner: &str) -> Entering {
        let partner = partner.parse().unwrap();
        self.line.enter(Turn { class, partner: Some(&partner) })
    }

    /// Takes a place that must be free.
    fn take(&self) -> Place {
        match self.enter(Class::Claim, "first") {
            Entering::Here(place) => place,
            Entering::Waits(_) | Entering::Refused(_) => panic!("a place is free"),
        }
    }

    /// Stands in line.
    fn wait(&self, class: Class, partner: &str) -> Waits {
        match self.enter(class, partner) {
            Entering::Waits(waits) => waits,
            Entering::Here(_) | Entering::Refused(_) => panic!("one has to wait"),
        }
    }

    fn claim(&self, partner: &str) -> Waits {
        self.wait(Class::Claim, partner)
    }

    fn presentation(&self, partner: &str) -> Waits {
        self.wait(Class::Presentation, partner)
    }

    /// Gives one place on and on, each time after `each`; returns in which order those that wait had it.
    fn order(&self, place: Place, waiting: Vec<Waits>, each: Duration) -> Vec<usize> {
        let mut waiting: Vec<Option<Waits>> = waiting.into_iter().map(Some).collect();
        let (mut order, mut place) = (Vec::new(), Some(place));
        while let Some(taken) = place.take() {
            self.clock.advance(each);
            taken.answered();
            for (index, slot) in waiting.iter_mut().enumerate() {
                let told = slot.as_mut().and_then(|waits| waits.now_or_never());
                if let Some(told) = told {
                    *slot = None;
                    if let Ok(given) = told {
                        assert!(place.replace(given).is_none(), "one place, one holder");
                        order.push(index);
                    }
                }
            }
        }
        order
    }
}

fn is_refused(waits: &mut Waits) -> bool {
    matches!(waits.now_or_never(), Some(Err(Overloaded)))
}

#[test]
fn as_many_are_served_at_once_as_there_are_places() {
    let house = House::with(2, 16);
    let (first, _second) = (house.take(), house.take());
    let mut third = house.claim("a");
    assert!((&mut third).now_or_never().is_none());
    assert_eq!((house.line.stats().taken, house.line.stats().claims.waiting), (2, 1));
    drop(first);
    assert!(matches!((&mut third).now_or_never(), Some(Ok(_))));
    assert_eq!(house.line.stats().claims.waiting, 0);
}

#[test]
fn presentations_go_first_and_claims_do_not_starve() {
    let house = House::with(1, 64);
    let place = house.take();
    let mut waiting: Vec<_> = (0..4).map(|_| house.claim("a")).collect();
    waiting.extend((0..20).map(|_| house.presentation("b")));
    let order = house.order(place, waiting, Duration::ZERO);
    assert_eq!(order.len(), 24, "everybody is served");
    let claims: Vec<_> = (0..24).filter(|place| order[*place] < 4).collect();
    assert_eq!(claims, [7, 15, 22, 23], "every eighth place, and the rest when no presentation waits");
}

#[test]
fn partners_take_turns_however_many_each_brings() {
    let house = House::with(1, 256);
    let place = house.take();
    let mut waiting: Vec<_> = (0..100).map(|_| house.claim("flood")).collect();
    waiting.extend((0..5).map(|_| house.claim("modest")));
    let order = house.order(place, waiting, Duration::ZERO);
    let modest: Vec<_> = (0..order.len()).filter(|place| order[*place] >= 100).collect();
    assert_eq!(modest, [1, 3, 5, 7, 9]);
}

#[test]
fn a_burst_may_wait_and_a_standing_line_may_not() {
    let house = House::with(1, 1_000);
    let place = house.take();
    let burst = (0..95).map(|_| house.claim("a")).collect();
    assert_eq!(house.order(place, burst, MS).len(), 95, "the last of them waited for 95 ms");
    assert_eq!(house.line.stats().claims, ClassStats::default());

    // Five times what one place serves, for a second.
    let mut place = Some(house.take());
    let (mut waiting, mut waits, mut refused) = (std::collections::VecDeque::new(), Vec::new(), 0);
    for turn in 0..1_000 {
        waiting.extend((0..5).map(|_| (turn, house.claim("a"))));
        house.clock.advance(MS);
        drop(place.take());
        waiting.retain_mut(|(since, one)| match one.now_or_never() {
            None => true,
            Some(Err(Overloaded)) => {
                refused += 1;
                false
            }
            Some(Ok(given)) => {
                waits.push(turn - *since);
                place = Some(given);
                false
            }
        });
        assert!(place.is_some(), "the place is never without work");
    }
    assert_eq!(waits.len(), 1_000, "as much is served as without overload");
    let standing = &waits[200..];
    assert!(standing.iter().all(|waited| *waited <= 20), "who is served was served soon: {standing:?}");
    assert_eq!(house.line.stats().claims.refused_late, refused);
    assert!(refused > 3_500, "{refused}");
}

#[test]
fn presentations_are_served_while_claims_are_refused() {
    let house = House::with(1, 1_000);
    let mut place = Some(house.take());
    let (mut waiting, mut served, mut refused) = (Vec::new(), [0, 0], [0, 0]);
    for turn in 0..2_000 {
        waiting.extend((0..4).map(|_| (Class::Claim, house.claim("a"))));
        if turn % 2 == 0 {
            waiting.push((Class::Presentation, house.presentation("b")));
        }
        house.clock.advance(MS);
        drop(place.take());
        waiting.retain_mut(|(class, one)| match one.now_or_never() {
            None => true,
            Some(Err(Overloaded)) => {
                refused[*class as usize] += 1;
                false
            }
            Some(Ok(given)) => {
                served[*class as usize] += 1;
                place = Some(given);
                false
            }
        });
    }
    let [presentations, claims] = served;
    assert!(presentations >= 999, "{presentations} of 1,000 presentations");
    assert!((950..=1_001).contains(&claims), "{claims} claims had what was left");
    assert_eq!(refused[Class::Presentation as usize], 0);
    assert!(refused[Class::Claim as usize] > 6_000, "{refused:?}");
}

#[test]
fn a_registry_that_does_not_answer_keeps_nobody_waiting_for_ever() {
    let house = House::with(1, 16);
    let _stuck = house.take();
    let (mut claim, mut shown) = (house.claim("a"), house.presentation("b"));
    house.clock.advance(201 * MS);
    assert!((&mut claim).now_or_never().is_none(), "nobody has looked");
    let mut next = house.claim("c");
    assert!(is_refused(&mut claim) && is_refused(&mut shown));
    assert!((&mut next).now_or_never().is_none());
}

#[test]
fn who_leaves_frees_its_place_in_the_line_and_at_the_registry() {
    let house = House::with(1, 2);
    let place = house.take();
    let (left, mut stays) = (house.claim("a"), house.claim("a"));
    drop(left);
    let mut newcomer = house.claim("b");
    assert_eq!(house.line.stats().claims.refused_full, 0, "whoever left holds no place in the line");
    drop(place);
    let Some(Ok(given)) = (&mut stays).now_or_never() else { panic!("the next who is there") };
    // Given the place, and gone before it was looked at.
    drop(given);
    let Some(Ok(_)) = (&mut newcomer).now_or_never() else { panic!("it went on") };
    drop(newcomer);
    drop(house.take());
    assert_eq!(house.line.stats().taken, 0);
}

#[test]
fn a_place_that_was_given_to_nobody_goes_on() {
    let house = House::with(1, 4);
    let place = house.take();
    let (first, mut second) = (house.claim("a"), house.claim("a"));
    drop(place);
    drop(first);
    assert!(matches!((&mut second).now_or_never(), Some(Ok(_))));
}

#[test]
fn in_a_full_line_whoever_fills_it_makes_room() {
    let house = House::with(1, 4);
    let place = house.take();
    let mut flood: Vec<_> = (0..4).map(|_| house.claim("flood")).collect();
    let modest = house.claim("modest");
    assert!(is_refused(&mut flood[3]));
    assert_eq!(house.line.stats().claims.refused_full, 1);
    let shown = house.presentation("b");
    assert_eq!(house.line.stats().presentations.refused_full, 0, "the lines of the classes are apart");
    flood.truncate(3);
    flood.extend([modest, shown]);
    assert_eq!(house.order(place, flood, Duration::ZERO), [4, 0, 3, 1, 2]);
}
