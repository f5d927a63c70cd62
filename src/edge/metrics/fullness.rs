//! How full everything is that has a bound, as metrics: counted when somebody looks.

use metrics::gauge;
use sandtree_actors::Fullness;

use crate::edge::context::Context;

/// Used of a bound; of many of a kind, by the fullest.
const USED: &str = "sandtree_bound_used";
/// The size of a bound.
const MAX: &str = "sandtree_bound_max";
/// Used by all of a kind together.
const IN_ALL: &str = "sandtree_bound_used_in_all";
/// Projects that have actors.
const LIVE: &str = "sandtree_live_projects";
/// Operations that wait for a place at the engine.
const WAITING: &str = "sandtree_engine_operations_waiting";

/// Sets the gauges to what is so now.
pub(super) fn show(context: &Context) {
    for fullness in all(context) {
        let Fullness { bound, used, max, in_all } = fullness;
        gauge!(USED, "bound" => bound).set(number(used));
        gauge!(MAX, "bound" => bound).set(number(max));
        if let Some(in_all) = in_all {
            gauge!(IN_ALL, "bound" => bound).set(number(in_all));
        }
    }
    gauge!(LIVE).set(number(context.tree.live_projects()));
    gauge!(WAITING).set(number(context.tree.engine_operations_waiting()));
}

fn all(context: &Context) -> Vec<Fullness> {
    let mut all = context.tree.fullness();
    all.extend(context.places.fullness());
    all.push(context.tree.connections(context.settings.preview_connections_max));
    all
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; no count comes near 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::testing::Edge;

    #[tokio::test]
    async fn what_is_used_and_what_there_is_are_shown() {
        let edge = Edge::open().await;
        let made = edge.json("POST", "/v1/projects", r#"{"id":"a","start":true}"#).await;
        assert_eq!(made.status, 201, "{made:?}");
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || show(&edge.context));
        let text = recorder.handle().render();
        for line in [
            "sandtree_live_projects 1",
            "sandtree_engine_operations_waiting 0",
            "sandtree_bound_used{bound=\"archives\"} 0",
            "sandtree_bound_max{bound=\"archives\"} 32",
            "sandtree_bound_max{bound=\"searches\"} 8",
            "sandtree_bound_max{bound=\"preview_connections\"} 256",
            "sandtree_bound_max{bound=\"events\"} 256",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in {text}");
        }
        let events = text.lines().filter(|line| line.contains("bound=\"events\""));
        let used = |name: &str| {
            let line = events.clone().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(used("sandtree_bound_used{") > 0.0, "a start is two transitions: {text}");
        assert!(used("sandtree_bound_used_in_all{") > 0.0, "{text}");
    }
}
