use super::lingering::Lingering;
use super::*;

#[test]
fn what_is_let_go_of_aside_holds_up_nobody() {
    let mut lingering = Lingering::new();
    let held = Aside::new(lingering.socket());
    assert!(lingering.ends(async move { drop(held) }));
    // Whoever would close it here could not do this any more.
    assert!(lingering.ends(async {}));
}
