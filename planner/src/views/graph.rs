//! The steps of a plan as a graph.

use super::drawing::{Drawing, Language, Shape, Stroke};
use super::ops;
use crate::plan::{Plan, Wait};

/// Every step once, and an arrow from it to each one that waits for it: a dashed one where the other
/// waits for its end alone, not for its success.
pub fn graph(plan: &Plan, language: Language) -> String {
    let mut drawing = Drawing::new(
        "an arrow leads from a step to one that waits for its success, a dashed one for its end",
    );
    let graph = plan.graph();
    let steps = graph.node_weights();
    let spots: Vec<_> = steps
        .map(|step| drawing.node(format!("{} {}", step.id, ops::what(plan, step)), Shape::Box))
        .collect();
    for edge in graph.edge_indices() {
        let (Some((from, to)), wait) = (graph.edge_endpoints(edge), graph[edge]) else { continue };
        let (stroke, label) = match wait {
            Wait::Success => (Stroke::Solid, ""),
            Wait::End => (Stroke::Dashed, "ended"),
        };
        drawing.edge(spots[from.index()], spots[to.index()], stroke, label);
    }
    drawing.text(language)
}
