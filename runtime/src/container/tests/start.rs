use super::{Box, alone};

#[test]
fn a_container_runs_its_program_as_root_of_its_own_ids() {
    alone(|| {
        let container = Box::new();
        let ended = container.run("id -u; id -g; id -G; hostname; echo $GREETING; cat /proc/self/uid_map; touch /made; exit 7");
        let base = container.bundle.id_base.unwrap();
        assert_eq!(ended.status, 7, "{}", ended.output);
        let words: Vec<&str> = ended.output.split_whitespace().collect();
        let base = base.to_string();
        assert_eq!(words, ["0", "0", "0", "boxed", "hello", "0", base.as_str(), "65536"]);
        assert_eq!(container.owner_on_disk("made"), (0, 0));
    });
}
