//! A client that others could have written: a React hook, rendered by React under Node.

use super::super::node;
use super::setup;

#[tokio::test]
async fn a_react_hook_reads_what_it_expects_from_every_answer() {
    let setup = setup().env("SANDTREE_DIALECTS__BHARATBUILD__FILES_FORMAT", "array");
    let server = setup.start().await;
    let url = format!("http://{}", server.client().address());
    let said = node::run("react-hook", "scenario.js", vec![url]).await;
    assert!(said.contains("the hook saw what it expects"), "{said}");
}
