use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A step of a container, from and to in milliseconds.
fn step(what: &str, after: &[usize], times: Option<(u64, u64)>) -> RanStep {
    let planned = Planned {
        what: what.into(),
        container: what.split(' ').nth(1).map(str::to_owned),
        gate: what.starts_with("await"),
        after: after.to_vec(),
        ..Planned::default()
    };
    let (began, ended) = times.unzip();
    let fate = if times.is_some() { Fate::Done } else { Fate::NotTried };
    RanStep { planned, began: began.map(ms), ended: ended.map(ms), fate, ..RanStep::default() }
}

fn run() -> Ran {
    let pull = Pass { began: ms(5), steps: vec![step("pull image", &[], Some((5, 95)))] };
    let steps = vec![
        step("create db-1", &[], Some((100, 110))),
        step("start db-1", &[0], Some((110, 115))),
        step("await db-1", &[1], Some((115, 3115))),
        step("create web-1", &[], Some((100, 130))),
        step("start web-1", &[2, 3], Some((3115, 3120))),
    ];
    let passes = vec![pull, Pass { began: ms(100), steps }];
    Ran { passes, last: ms(3121), ended: true, ..Ran::default() }
}

fn services_of_run() -> BTreeMap<String, String> {
    [("db-1", "db"), ("web-1", "web")].map(|(c, s)| (c.to_owned(), s.to_owned())).into()
}

fn words(links: &[Link]) -> String {
    let took = |link: &Link| link.took.map_or("-".to_owned(), |t| t.as_millis().to_string());
    let line = |link: &Link| format!("{} {} {:?}", took(link), link.what, link.fate);
    links.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn chain_of(ran: &Ran, service: Option<&str>) -> String {
    chain(ran, service, &services_of_run()).map(|links| words(&links)).unwrap_or_default()
}

#[test]
fn blame_has_every_step_the_longest_first_and_the_time_before_the_steps() {
    insta::assert_snapshot!(words(&blame(&run())), @r"
    3000 await db-1 Done
    90 pull image Done
    30 create web-1 Done
    10 create db-1 Done
    5 read, look and plan Done
    5 read, look and plan Done
    5 start db-1 Done
    5 start web-1 Done
    ");
}

#[test]
fn the_chain_leads_from_the_last_end_back_over_all_plans_to_the_start() {
    insta::assert_snapshot!(chain_of(&run(), None), @r"
    5 start web-1 Done
    3000 await db-1 Done
    5 start db-1 Done
    10 create db-1 Done
    5 read, look and plan Done
    90 pull image Done
    5 read, look and plan Done
    ");
    insta::assert_snapshot!(chain_of(&run(), Some("db")), @r"
    3000 await db-1 Done
    5 start db-1 Done
    10 create db-1 Done
    5 read, look and plan Done
    90 pull image Done
    5 read, look and plan Done
    ");
    assert_eq!(chain_of(&run(), Some("cache")), "");
}

#[test]
fn what_waited_for_its_turn_took_that_much_less() {
    let mut ran = run();
    ran.passes[1].steps[3].queued = ms(25);
    let links = blame(&ran);
    let create = links.iter().find(|link| link.what == "create web-1").unwrap();
    assert_eq!((create.queued, create.took), (ms(25), Some(ms(5))));
    assert_eq!(create.ended(), Some(ms(130)));
}

#[test]
fn a_service_that_was_not_reached_shows_what_failed_before_it() {
    let mut ran = run();
    ran.passes[1].steps[2].fate = Fate::Failed("is unhealthy".into());
    ran.passes[1].steps[4] = step("start web-1", &[2, 3], None);
    assert_eq!(ran.end(), End::Failed);
    insta::assert_snapshot!(chain_of(&ran, Some("web")), @r#"
    - start web-1 NotTried
    3000 await db-1 Failed("is unhealthy")
    5 start db-1 Done
    10 create db-1 Done
    5 read, look and plan Done
    90 pull image Done
    5 read, look and plan Done
    "#);
}

#[test]
fn a_run_that_was_cut_off_ends_with_what_was_open_then() {
    let mut ran = run();
    ran.ended = false;
    ran.last = ms(2000);
    let gate = &mut ran.passes[1].steps[2];
    (gate.fate, gate.ended) = (Fate::Open, None);
    ran.passes[1].steps[4] = step("start web-1", &[2, 3], None);
    assert_eq!(ran.end(), End::CutOff);
    assert_eq!(ran.counts(), Counts { done: 4, failed: 0, open: 1, not_tried: 1 });
    insta::assert_snapshot!(chain_of(&ran, None), @r"
    1885 await db-1 Open
    5 start db-1 Done
    10 create db-1 Done
    5 read, look and plan Done
    90 pull image Done
    5 read, look and plan Done
    ");
}

#[test]
fn a_run_that_was_interrupted_is_told_from_one_that_failed() {
    let mut ran = run();
    ran.passes[1].steps[4] = step("start web-1", &[2, 3], None);
    assert_eq!(ran.end(), End::Interrupted);
    let nothing = Ran { ended: true, passes: vec![Pass::default()], ..Ran::default() };
    assert_eq!((nothing.end(), chain_of(&nothing, None)), (End::Done, String::new()));
}
