//! What an `up` that stays attached is about.

use std::collections::BTreeSet;

use berth_schema::stack::{Condition, Dependency, Stack};

use super::UpArgs;
use crate::attach::{Attached, End, EndAt};

/// Whose output is shown, and when the showing ends, of a run that is about these services.
pub(super) fn attached(stack: &Stack, args: &UpArgs, about: &BTreeSet<String>) -> Attached {
    let asked = |name: &String| match args.attach.is_empty() {
        false => args.attach.contains(name),
        true if args.services.contains(name) => true,
        true => {
            (args.services.is_empty() || args.attach_dependencies) && stack.services[name].attach
        }
    };
    let shown = |name: &String| asked(name) && !args.no_attach.contains(name);
    let at = match (args.abort_on_container_failure, args.abort_on_container_exit) {
        (true, _) => EndAt::FirstFailure,
        (false, true) => EndAt::First,
        (false, false) if args.exit_code_from.is_some() => EndAt::First,
        (false, false) => EndAt::Last,
    };
    let needed = stack.services.values().flat_map(|service| &service.depends_on);
    let ends = |on: &Dependency| on.condition == Condition::ServiceCompletedSuccessfully;
    let one_shots = needed.filter(|(_, on)| ends(on)).map(|(service, _)| service.clone()).collect();
    let end = End { at, code_of: args.exit_code_from.clone(), one_shots };
    Attached {
        project: stack.name.clone(),
        shown: stack.services.keys().filter(|name| shown(name)).cloned().collect(),
        running: about.clone(),
        end,
        grace: args.shape.timeout,
        colours: !args.no_color,
        names: !args.no_log_prefix,
        timestamps: args.timestamps,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn stack() -> Stack {
        let mut stack = Stack { name: "shop".into(), ..Stack::default() };
        for name in ["db", "job", "web"] {
            let service =
                berth_schema::stack::Service { attach: name != "job", ..Default::default() };
            stack.services.insert(name.into(), service);
        }
        stack
    }

    fn of(stack: &Stack, line: &str) -> Attached {
        attached(stack, &parse(line).unwrap(), &BTreeSet::new())
    }

    #[test]
    fn output_of_a_service_is_shown_unless_file_or_words_say_no() {
        let shown = |line: &str| of(&stack(), line).shown;
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(shown("berth up"), names(&["db", "web"]));
        assert_eq!(shown("berth up --attach job"), names(&["job"]));
        assert_eq!(shown("berth up --no-attach db"), names(&["web"]));
        assert_eq!(shown("berth up web"), names(&["web"]));
        assert_eq!(shown("berth up web job"), names(&["job", "web"]));
        assert_eq!(shown("berth up --attach job --attach db --no-attach db"), names(&["job"]));
        assert_eq!(shown("berth up --attach-dependencies web"), names(&["db", "web"]));
    }

    #[test]
    fn the_end_of_showing_is_what_the_words_say() {
        let end = |line: &str| {
            let end = of(&stack(), line).end;
            (end.at, end.code_of)
        };
        let web = || Some("web".to_owned());
        assert_eq!(end("berth up"), (EndAt::Last, None));
        assert_eq!(end("berth up --abort-on-container-exit"), (EndAt::First, None));
        assert_eq!(end("berth up --abort-on-container-failure"), (EndAt::FirstFailure, None));
        assert_eq!(end("berth up --exit-code-from web"), (EndAt::First, web()));
        let both = "berth up --exit-code-from web --abort-on-container-failure";
        assert_eq!(end(both), (EndAt::FirstFailure, web()));
    }

    #[test]
    fn who_has_to_end_well_is_what_the_file_says() {
        let mut stack = stack();
        let on = |condition| Dependency { condition, restart: false, required: true };
        let web = stack.services.get_mut("web").unwrap();
        web.depends_on.insert("job".into(), on(Condition::ServiceCompletedSuccessfully));
        web.depends_on.insert("db".into(), on(Condition::ServiceHealthy));
        let end = of(&stack, "berth up --exit-code-from web").end;
        assert_eq!(end.one_shots, ["job".to_owned()].into());
    }
}
