//! Quotas, one thing at a time.

use super::*;

#[test]
fn every_answer_of_a_window_can_be_had_at_one_replica() {
    for limit in [1, 2, 7, 300] {
        let mut world = World::new(quota(limit, PLENTY, PLENTY), limit);
        world.steps(Duration::from_secs(2));
        let mut given = 0;
        for _ in 0..3_000 {
            given += world.answers(1, 1);
            world.step();
        }
        assert_eq!(given, limit, "at one replica, the others idle");
        assert_eq!(world.mode(1), LimitMode::Leased);
        assert_eq!((0..3).map(|index| world.remaining(index, LimitWindow::QuotaMinute)).sum::<u64>(), 0);
    }
}

#[test]
fn an_emptied_redis_does_not_give_the_day_again() {
    let mut world = World::new(quota(PLENTY, PLENTY, 900), 1);
    world.steps(Duration::from_secs(3));
    let mut given = 0;
    for step in 0..6_000_u32 {
        if step % 500 == 250 {
            world.flush();
        }
        given += world.answers(usize::try_from(step % 3).unwrap(), 1);
        world.step();
    }
    assert_eq!(given, 900);
}

/// Redis goes away when half is spent, unevenly: what is left is divided, and together no more than the limit is given.
#[test]
fn without_redis_each_replica_gives_its_share_of_the_rest() {
    let mut world = World::new(quota(PLENTY, 900, PLENTY), 1);
    world.steps(Duration::from_secs(3));
    let mut given = 0;
    for _ in 0..450 {
        given += world.answers(0, 1);
        world.step();
    }
    world.steps(Duration::from_secs(3));
    assert_eq!(given, 450);
    world.is_redis_away = true;
    world.steps(Duration::from_secs(1));
    let shares: Vec<u64> = (0..3).map(|index| world.answers(index, 1_000)).collect();
    assert!(shares.iter().all(|share| (145..=155).contains(share)), "{shares:?}");
    assert!(given + shares.iter().sum::<u64>() <= 900, "{shares:?}");
    assert_eq!(world.mode(0), LimitMode::Divided);

    // A window that opens meanwhile is divided evenly.
    world.clock.advance(Duration::from_secs(3_600));
    world.steps(Duration::from_secs(1));
    let shares: Vec<u64> = (0..3).map(|index| world.answers(index, 1_000)).collect();
    assert_eq!(shares, [300; 3]);
}

#[test]
fn a_replica_that_leaves_gives_back_what_it_holds() {
    let mut world = World::new(quota(PLENTY, 900, PLENTY), 1);
    world.steps(Duration::from_secs(3));
    let leaving = world.replicas.swap_remove(0);
    for call in leaving.limits.calls_to_leave() {
        assert_eq!(world.run(&leaving.name, &call.ask.arguments()), Some(Reply::Left));
    }
    let mut given = 0;
    for _ in 0..1_000 {
        given += world.answers(0, 2);
        world.step();
    }
    assert_eq!(given, 900);
}

#[test]
fn a_clock_of_redis_that_steps_back_opens_no_window_again() {
    for back in [2, 20, 300] {
        let mut world = World::new(quota(PLENTY, 300, PLENTY), 1);
        world.steps(Duration::from_secs(3));
        let mut given: u64 = (0..3).map(|index| world.answers(index, 60)).sum();
        world.redis_ahead -= SignedDuration::from_secs(back);
        for step in 0..3_000_u32 {
            world.step();
            given += world.answers(usize::try_from(step % 3).unwrap(), 1);
        }
        assert!((300..=303).contains(&given), "back by {back} s: {given}");
    }
}

#[test]
fn nodes_of_redis_that_take_turns_with_an_hour_between_their_clocks_open_nothing() {
    for ahead in [7, 3_600, 90_000] {
        let mut world = World::new(quota(PLENTY, 300, PLENTY), 1);
        world.steps(Duration::from_secs(3));
        let mut given = 0;
        for step in 0..4_000_u32 {
            if step % 500 == 100 {
                let sign = if step % 1_000 == 100 { 1 } else { -1 };
                world.replicate();
                world.redis_ahead += SignedDuration::from_secs(sign * ahead);
                world.fail_over();
            }
            world.step();
            given += world.answers(usize::try_from(step % 3).unwrap(), 1);
        }
        assert!((290..=303).contains(&given), "ahead by {ahead} s: {given}");
    }
}

/// Goal: a replica that starts while Redis' clock is off is not left with nothing for the rest of the day.
#[test]
fn one_that_starts_under_a_wrong_clock_of_redis_begins_with_a_share() {
    let mut world = World::new(quota(PLENTY, 300, 3_000), 1);
    world.redis_ahead = SignedDuration::from_hours(30);
    world.steps(Duration::from_secs(3));
    world.replace(0);
    world.steps(Duration::from_secs(3));
    assert_eq!(world.answers(2, 1_000), 100);
}

#[test]
fn what_redis_invents_entitles_to_no_more_than_the_contract() {
    let mut world = World::new(quota(PLENTY, 90, PLENTY), 1);
    world.steps(Duration::from_secs(2));
    let limits = Arc::clone(&world.replicas[0].limits);
    world.clock.advance(Duration::from_secs(1));
    let now_us = world.redis_now().as_microsecond();
    let hour = world.redis_now().as_second() / 3_600 * 3_600;
    for call in limits.calls_due() {
        let lie = [1, now_us, i64::MAX, i64::MAX, 0, i64::MAX, 0, hour, i64::MAX, 0, i64::MAX, 0, i64::MAX];
        limits.heard(&call, Reply::read(&lie));
    }
    assert!(world.answers(0, 1_000) <= 90);
    assert!(world.requests(0, 100_000) <= 2_000);
}
