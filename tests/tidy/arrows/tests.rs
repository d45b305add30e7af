//! That each arrow of the table holds, and each one beside it is found.

use super::*;

fn arrow<'a>(from: &'a str, to: &'a str, need: Need, inner: bool) -> Arrow<'a> {
    Arrow {
        from,
        to,
        need,
        inner,
    }
}

#[test]
fn an_arrow_that_the_table_does_not_have_is_found() {
    let ok = |from, to| crate_arrow(&arrow(from, to, Need::Normal, true)).is_none();
    assert!(ok("daca-router", "mesh-core"));
    assert!(!ok("daca-worker", "daca-router"));
    assert!(!ok("mesh-core", "mesh-runtime"));
    assert!(!ok("daca", "mesh-tests"));
    assert!(!ok("a-new-room", "mesh-core"));
    let tests = |from, to| crate_arrow(&arrow(from, to, Need::Tests, true)).is_none();
    assert!(tests("daca-worker", "mesh-mcp"));
    assert!(!tests("daca-worker", "daca-router"));
    assert!(!tests("mesh-core", "mesh-tests"));
}

#[test]
fn a_crate_that_brings_io_into_a_pure_room_is_found() {
    let ok = |from, to, need| crate_arrow(&arrow(from, to, need, false)).is_none();
    assert!(!ok("mesh-core", "tokio", Need::Normal));
    assert!(!ok("mesh-proto", "hyper", Need::Normal));
    assert!(ok("mesh-proto", "tokio", Need::Tests));
    assert!(ok("mesh-core", "aes", Need::Normal));
    assert!(ok("daca-router", "tokio", Need::Normal));
}

fn order(files: &[(&str, &str)]) -> Vec<String> {
    let lib = "//! x\npub mod app;\nmod config;\npub(crate) mod relay;\nmod call;\n";
    let files = files.iter().map(|(path, text)| Source::new(path, text));
    let sources: Vec<_> = std::iter::once(Source::new("r/src/lib.rs", lib))
        .chain(files)
        .collect();
    let findings = module_order("r/src/", &sources);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_use_of_a_module_above_is_found_and_one_below_is_not() {
    let below = "use crate::call::Ask;\nuse crate::{relay, call::{self, Reply}};";
    assert_eq!(order(&[("r/src/relay.rs", below)]), [] as [String; 0]);
    assert_eq!(
        order(&[("r/src/call.rs", "use crate::call::x;")]),
        [] as [String; 0]
    );
    for above in [
        "\nuse crate::relay::x;",
        "\nuse crate::{\n call::Ask, relay::{x, y}};",
        "\nfn f() -> crate::relay::X {}",
    ] {
        let findings = order(&[("r/src/call.rs", above)]);
        assert_eq!(findings.len(), 1, "{above}: {findings:?}");
        assert!(findings[0].starts_with("r/src/call.rs:2: `call` uses `relay`"));
    }
    let child = order(&[("r/src/call/inner.rs", "use crate::app::x;")]);
    assert_eq!(child.len(), 1, "{child:?}");
}

#[test]
fn what_is_no_import_is_not_taken_for_one() {
    let text = "// crate::app\n/// [`crate::app`]\npub(crate) const X: &str = \"crate::app\";\n\
                #[cfg(test)]\nmod tests {\n use super::*;\n use crate::app::x;\n}\n";
    assert_eq!(order(&[("r/src/call.rs", text)]), [] as [String; 0]);
}

#[test]
fn ways_around_the_order_are_found() {
    for (path, text) in [
        ("r/src/relay.rs", "use crate::config::Config;"),
        ("r/src/call.rs", "use super::app::x;"),
        ("r/src/call/inner.rs", "use super::super::app;"),
        ("r/src/call.rs", "use crate::Reexported;"),
        ("r/src/unlisted.rs", "//! x"),
    ] {
        assert_eq!(order(&[(path, text)]).len(), 1, "{path}: {text}");
    }
    assert!(order(&[("r/src/app.rs", "use crate::config::Config;")]).is_empty());
    assert!(order(&[("r/src/call/inner.rs", "use super::Ask;")]).is_empty());
}

#[test]
fn hyper_in_the_middle_of_the_router_is_found() {
    let count = |path, text| banned_words(&Source::new(path, text)).len();
    assert_eq!(count("router/src/relay.rs", "use hyper::Request;"), 1);
    assert_eq!(count("router/src/relay.rs", "// hyper::Request"), 0);
    assert_eq!(
        count("router/src/binding/rest.rs", "use hyper::Request;"),
        0
    );
    assert_eq!(count("router/src/upstream.rs", "use hyper_util::rt;"), 0);
    assert_eq!(
        count("crates/core/src/view.rs", "let t = Instant::now();"),
        1
    );
    assert_eq!(count("crates/core/src/view.rs", "use tokio::time;"), 1);
    assert_eq!(count("crates/runtime/src/net.rs", "use tokio::time;"), 0);
    assert_eq!(count("proto/src/scan.rs", "std::fs::read(x)"), 1);
}
