use super::*;

#[test]
fn no_template_is_there_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for route in table() {
        assert!(seen.insert(route.template), "{}", route.template);
    }
}
