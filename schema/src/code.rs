//! The codes of all problems, in one table.
//!
//! They are stable: scripts may match on them. `schema/PROBLEMS.md` is this table as a document.

use miette::Severity;

macro_rules! codes {
    ($($severity:ident $name:ident $text:literal $meaning:literal,)*) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it is printed.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => concat!("berth::", $text),)*
                }
            }

            /// What it means, as a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Code::$name => $meaning,)*
                }
            }

            /// How much it matters unless a rule says otherwise.
            pub(crate) fn severity(self) -> Severity {
                match self {
                    $(Code::$name => Severity::$severity,)*
                }
            }
        }
    };
}

codes! {
    Error NoFile "no_file" "No Compose file was found.",
    Error Unreadable "unreadable" "A file could not be read.",
    Error NotCompose "not_compose" "The file is of another kind, or of the first Compose format.",
    Error Syntax "syntax" "The text is no YAML.",
    Error TooLarge "too_large" "The text is larger, deeper or longer than berth reads.",
    Error DuplicateKey "duplicate_key" "A key stands twice in one map.",
    Error KeyNotText "key_not_text" "A key is not text.",
    Error UnknownKey "unknown_key" "The specification knows no such key.",
    Error WrongPlace "wrong_place" "The specification knows the key, but at another level.",
    Error WrongType "wrong_type" "A value has the wrong type.",
    Error BadValue "bad_value" "A value of the right type that cannot work.",
    Error Missing "missing" "A required key is not there.",
    Error BadName "bad_name" "A name with characters that names do not have.",
    Error ProjectName "project_name" "No project name could be made.",
    Error Interpolation "interpolation" "A `${…}` that cannot be read.",
    Error RequiredVariable "required_variable" "A `${NAME:?…}` whose variable is not set.",
    Warning UnsetVariable "unset_variable" "A variable that is not set became empty text.",
    Error EnvFile "env_file" "A line of an environment file that cannot be read.",
    Error UnknownService "unknown_service" "A reference to a service that is not in the stack.",
    Error UnknownDependency "unknown_dependency" "A dependency that is not in the stack.",
    Error UnknownNetwork "unknown_network" "A reference to a network that is not in the stack.",
    Error UnknownVolume "unknown_volume" "A reference to a volume that is not in the stack.",
    Error UnknownConfig "unknown_config" "A reference to a config that is not in the stack.",
    Error UnknownSecret "unknown_secret" "A reference to a secret that is not in the stack.",
    Error UnknownModel "unknown_model" "A reference to a model that is not in the stack.",
    Error InactiveService "inactive_service" "A needed service is switched off by its profiles.",
    Error Cycle "cycle" "Things that need each other in a circle.",
    Error Conflict "conflict" "Two values that exclude each other.",
    Error Duplicate "duplicate" "The same thing twice where it can be only once.",
    Error NoImage "no_image" "A service without an image.",
    Warning NoServices "no_services" "No service is left to run.",
    Error NotYet "not_yet" "Part of the specification, but not done yet.",
    Error Denied "denied" "The policy does not let the stack have a privilege.",
    Error HostLacks "host_lacks" "This host cannot give what an attribute asks for.",
    Warning Inert "inert" "Part of the specification, without effect on one Linux host.",
    Warning Obsolete "obsolete" "Obsolete way of writing.",
    Warning Rewritten "rewritten" "YAML reads a value without quotes as something else.",
    Warning Doubtful "doubtful" "It can work, but hardly as it was meant.",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    fn document() -> String {
        let mut text = String::from(
            "# Problems\n\n\
             Every problem that berth finds in a Compose file has one of these codes. They do not\n\
             change, so scripts may match on them. This file is made from `src/code.rs`; after a\n\
             change there run `BERTH_REWRITE=1 cargo nextest run -p berth-schema the_document`.\n\n\
             A warning does not stop `up`; `berth check --strict` counts it as an error.\n\n\
             | code | | means |\n| --- | --- | --- |\n",
        );
        for code in Code::ALL {
            let severity = match code.severity() {
                Severity::Warning => "warning",
                _ => "error",
            };
            let _ = writeln!(text, "| `{}` | {severity} | {} |", code.as_str(), code.meaning());
        }
        text
    }

    #[test]
    fn the_document_of_all_problems_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/PROBLEMS.md");
        if std::env::var_os("BERTH_REWRITE").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), document());
    }

    #[test]
    fn no_code_stands_for_two_problems() {
        let texts: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
