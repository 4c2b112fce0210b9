//! Says what is wrong in the image store, and what to do about it.

use berth_runtime::store::{Broken, Checked, ObjectKind, Spare};

use super::judge::{Finding, Verdict};
use crate::values::amount;

/// What was found, the broken things first; `repairing` if they were to be taken away.
pub(crate) fn judge_store(checked: &Checked, repairing: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        checked.broken.iter().map(|broken| finding(broken, repairing)).collect();
    let Checked { names, images, layers, blobs, .. } = checked;
    let counts = format!("{names} names, {images} images, {layers} layers, {blobs} blobs");
    findings.push(match checked.broken.len() {
        0 => fine("store", format!("{counts}: all whole")),
        1 => fine("store", format!("{counts}; the others are whole")),
        _ => fine("store", format!("{counts}; all others are whole")),
    });
    findings.extend(spare(
        &checked.parts,
        "left by stopped pulls and loads, no harm: the next pull goes on from there",
    ));
    findings
        .extend(spare(&checked.unneeded, "that no image needs; `berth image prune` removes them"));
    if checked.making > 0 {
        findings.push(fine("making", format!("{} layers are being made now", checked.making)));
    }
    findings
}

fn finding(broken: &Broken, repairing: bool) -> Finding {
    let mut found = format!("{}: {}", broken.object, broken.problem);
    match broken.images.as_slice() {
        [] => {}
        [image] => found.push_str(&format!(" (needed by {image})")),
        images => found.push_str(&format!(" (needed by {})", images.join(", "))),
    }
    let verdict = if broken.removed { Verdict::Warn } else { Verdict::Fail };
    Finding { check: word(broken.kind), verdict, found, next: Some(next(broken, repairing)) }
}

/// The next move.
fn next(broken: &Broken, repairing: bool) -> String {
    if let Some(why) = &broken.kept {
        return match broken.kind {
            ObjectKind::Stranger => "look what it is, and move it away".to_owned(),
            _ => format!("left as it is, because {why}; remove that, then repair again"),
        };
    }
    let again = match broken.kind {
        ObjectKind::Stranger => return "look what it is, and move it away".to_owned(),
        ObjectKind::Name if broken.pulled.is_empty() => "name the image again".to_owned(),
        _ if broken.images.is_empty() => "nothing needs it".to_owned(),
        _ if broken.pulled.is_empty() => {
            format!("load or make {} again", broken.images.join(", "))
        }
        _ => format!("`berth image pull {}`", broken.pulled.join(" ")),
    };
    // There is nothing of a lost blob to take away, and its images still run.
    let lost = broken.kind == ObjectKind::Blob && broken.problem == "it is missing";
    match (broken.removed, repairing) {
        _ if lost => again,
        (true, _) => format!("removed; {again}"),
        (false, true) => again,
        (false, false) => {
            format!("`berth doctor --check-store --repair` removes it; then: {again}")
        }
    }
}

fn word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Name => "name",
        ObjectKind::Image => "image",
        ObjectKind::Blob => "blob",
        ObjectKind::Layer => "layer",
        ObjectKind::Stranger => "stranger",
    }
}

fn spare(spare: &Spare, what: &str) -> Option<Finding> {
    let Spare { count, bytes } = spare;
    (*count > 0).then(|| fine("spare", format!("{count} ({}) {what}", amount::bytes(*bytes))))
}

fn fine(check: &'static str, found: String) -> Finding {
    Finding { check, verdict: Verdict::Ok, found, next: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(kind: ObjectKind, object: &str, problem: &str, images: &[&str]) -> Broken {
        let images: Vec<String> = images.iter().map(|&name| name.to_owned()).collect();
        let pulled = images.iter().filter(|name| name.contains('/')).cloned().collect();
        let (object, problem) = (object.to_owned(), problem.to_owned());
        Broken { kind, object, problem, images, pulled, kept: None, removed: false }
    }

    fn told(checked: &Checked, repairing: bool) -> String {
        let line = |f: Finding| {
            let next = f.next.map(|next| format!("\n     {next}")).unwrap_or_default();
            format!("{:?} {}: {}{next}\n", f.verdict, f.check, f.found)
        };
        judge_store(checked, repairing).into_iter().map(line).collect()
    }

    #[test]
    fn what_is_broken_is_told_with_its_images_and_the_next_move() {
        let mut kept = broken(ObjectKind::Layer, "sha256:b", "`a` has other bytes", &["r.io/b:1"]);
        kept.kept = Some("a container was made from image sha256:i".into());
        let mut removed = broken(ObjectKind::Blob, "sha256:c", "it has 1 bytes", &["local:1"]);
        removed.removed = true;
        let spare = Spare { count: 2, bytes: 1500 };
        let mut checked = Checked {
            names: 1,
            images: 2,
            layers: 3,
            blobs: 4,
            parts: spare,
            broken: vec![
                broken(ObjectKind::Blob, "sha256:a", "it is missing", &["r.io/a:1", "r.io/b:1"]),
                broken(ObjectKind::Layer, "sha256:b", "it is missing", &["r.io/a:1"]),
                broken(ObjectKind::Blob, "sha256:d", "its bytes have digest sha256:e", &[]),
                broken(ObjectKind::Stranger, "layers/x", "it is not the store's", &[]),
            ],
            ..Checked::default()
        };
        insta::assert_snapshot!(told(&checked, false), @r"
        Fail blob: sha256:a: it is missing (needed by r.io/a:1, r.io/b:1)
             `berth image pull r.io/a:1 r.io/b:1`
        Fail layer: sha256:b: it is missing (needed by r.io/a:1)
             `berth doctor --check-store --repair` removes it; then: `berth image pull r.io/a:1`
        Fail blob: sha256:d: its bytes have digest sha256:e
             `berth doctor --check-store --repair` removes it; then: nothing needs it
        Fail stranger: layers/x: it is not the store's
             look what it is, and move it away
        Ok store: 1 names, 2 images, 3 layers, 4 blobs; all others are whole
        Ok spare: 2 (1.50kB) left by stopped pulls and loads, no harm: the next pull goes on from there
        ");
        checked.broken = vec![kept, removed];
        checked.parts = Spare::default();
        insta::assert_snapshot!(told(&checked, true), @r"
        Fail layer: sha256:b: `a` has other bytes (needed by r.io/b:1)
             left as it is, because a container was made from image sha256:i; remove that, then repair again
        Warn blob: sha256:c: it has 1 bytes (needed by local:1)
             removed; load or make local:1 again
        Ok store: 1 names, 2 images, 3 layers, 4 blobs; all others are whole
        ");
    }
}
