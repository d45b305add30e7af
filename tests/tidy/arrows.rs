//! The law of arrows: which room may import which, and inside a room which module may use which.
//!
//! # Invariants
//! - The table here and the one in ARCHITECTURE.md say the same. A new arrow is a decision: change
//!   both in one commit and say why.

use crate::tree::{Finding, Source, has_word, is_name};

/// A crate of the workspace, and the crates of the workspace that it may import.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) imports: &'static [&'static str],
}

const EVERYTHING_BUT_TESTS: &[&str] = &[
    "mesh-proto",
    "mesh-core",
    "mesh-runtime",
    "mesh-fabric",
    "mesh-client",
    "mesh-card",
    "mesh-mcp",
    "daca-router",
    "daca-worker",
    "mesh-bench",
];

/// The law. `mesh-mcp` and `mesh-codegen` stand alone: the first is a program of its own that speaks
/// MCP and no A2A, the second is needed by developers and tests only.
pub(crate) const ROOMS: &[Room] = &[
    Room {
        name: "mesh-proto",
        imports: &[],
    },
    Room {
        name: "mesh-codegen",
        imports: &[],
    },
    Room {
        name: "mesh-mcp",
        imports: &[],
    },
    Room {
        name: "mesh-core",
        imports: &["mesh-proto"],
    },
    Room {
        name: "mesh-runtime",
        imports: &["mesh-proto", "mesh-core"],
    },
    Room {
        name: "mesh-fabric",
        imports: &["mesh-runtime"],
    },
    Room {
        name: "mesh-client",
        imports: &["mesh-proto", "mesh-runtime"],
    },
    Room {
        name: "mesh-card",
        imports: &["mesh-proto"],
    },
    Room {
        name: "daca-router",
        imports: &[
            "mesh-proto",
            "mesh-core",
            "mesh-runtime",
            "mesh-fabric",
            "mesh-card",
        ],
    },
    Room {
        name: "daca-worker",
        // `mesh-mcp` for the tools that an agents file calls built in: the same server, in process.
        imports: &[
            "mesh-proto",
            "mesh-core",
            "mesh-runtime",
            "mesh-fabric",
            "mesh-client",
            "mesh-mcp",
        ],
    },
    Room {
        name: "mesh-bench",
        imports: &[
            "mesh-proto",
            "mesh-core",
            "mesh-runtime",
            "mesh-fabric",
            "mesh-client",
            "daca-router",
        ],
    },
    Room {
        name: "mesh-fuzz",
        imports: &["mesh-proto", "mesh-core", "mesh-card"],
    },
    Room {
        name: "daca",
        imports: EVERYTHING_BUT_TESTS,
    },
    Room {
        name: "mesh-tests",
        imports: &[
            "mesh-proto",
            "mesh-codegen",
            "mesh-core",
            "mesh-runtime",
            "mesh-fabric",
            "mesh-client",
            "mesh-card",
            "mesh-mcp",
            "daca-router",
            "daca-worker",
            "mesh-bench",
            "daca",
        ],
    },
];

/// Crates from outside that a room must not name, since they would let it do what it must never do.
const NOT_IN: &[(&str, &[&str])] = &[
    (
        "mesh-proto",
        &["tokio", "hyper", "hyper-util", "axum", "reqwest"],
    ),
    (
        "mesh-core",
        &[
            "tokio",
            "hyper",
            "hyper-util",
            "tonic",
            "axum",
            "reqwest",
            "rand",
            "fastrand",
            "getrandom",
            "uuid",
        ],
    ),
];

/// How a manifest names a dependency.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Need {
    /// The product, or its build, needs it.
    Normal,
    /// Only its tests need it.
    Tests,
}

/// One dependency of a manifest.
pub(crate) struct Arrow<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) need: Need,
    /// Whether both are crates of the workspace.
    pub(crate) inner: bool,
}

/// What is wrong with a dependency, if anything.
pub(crate) fn crate_arrow(arrow: &Arrow<'_>) -> Option<String> {
    let Arrow { from, to, .. } = arrow;
    let Some(room) = ROOMS.iter().find(|room| room.name == *from) else {
        return Some(format!(
            "{from} is in no row of ROOMS in tests/tidy/arrows.rs; add one, and one in ARCHITECTURE.md"
        ));
    };
    if !arrow.inner {
        let banned = NOT_IN
            .iter()
            .any(|(name, not)| name == from && not.contains(to));
        let banned = banned && arrow.need == Need::Normal;
        return banned.then(|| format!("{from} must stay without {to}; move what needs it up"));
    }
    let allowed = match arrow.need {
        Need::Normal => room.imports.contains(to),
        // Tests may stand on any room but the one that stands on all; the worker never on the router.
        Need::Tests => *to != "mesh-tests" && !(*from == "daca-worker" && *to == "daca-router"),
    };
    (!allowed)
        .then(|| format!("{from} must not import {to}: see the table of rooms in ARCHITECTURE.md"))
}

/// The modules of a `lib.rs`, in its order.
fn listed_modules(lib: &Source) -> Vec<&str> {
    let lines = lib.code.lines();
    lines
        .filter_map(|line| {
            let line = line.trim_end().strip_suffix(';')?;
            let (visibility, name) = line.rsplit_once("mod ")?;
            let visible = ["", "pub ", "pub(crate) "].contains(&visibility);
            visible.then_some(name.trim())
        })
        .collect()
}

/// Whatever a file takes from `crate::`, as (line, first name).
fn uses(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, word) in code.match_indices("crate::") {
        if code[..start].ends_with(is_name) {
            continue;
        }
        let line = 1 + code[..start].matches('\n').count();
        let rest = &code[start + word.len()..];
        let mut names = |text: &str| {
            let name: String = text
                .trim_start()
                .chars()
                .take_while(|c| is_name(*c))
                .collect();
            if !name.is_empty() {
                found.push((line, name));
            }
        };
        match rest.strip_prefix('{') {
            None => names(rest),
            Some(tree) => top_level(tree).into_iter().for_each(names),
        }
    }
    found
}

/// The items of a use tree up to its closing brace, without what stands in inner braces.
fn top_level(tree: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, letter) in tree.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(&tree[start..at]);
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

/// The code of a file without its inline tests, which may look where they like.
fn product_code(source: &Source) -> &str {
    let code = source.code.as_str();
    let tests = code.find("#[cfg(test)]\nmod tests {");
    code.get(..tests.unwrap_or(code.len())).unwrap_or(code)
}

/// Inside one crate: `lib.rs` lists the modules as a call meets them, and each uses only those below.
///
/// `folder` is the crate's `src/`.
pub(crate) fn module_order(folder: &str, sources: &[Source]) -> Vec<Finding> {
    let lib = format!("{folder}lib.rs");
    let Some(lib) = sources.iter().find(|source| source.path == lib) else {
        return Vec::new();
    };
    let order = listed_modules(lib);
    let place = |name: &str| order.iter().position(|listed| *listed == name);
    let mut findings = Vec::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix(folder) else {
            continue;
        };
        if ["lib.rs", "main.rs"].contains(&inside) || source.stem() == "tests" {
            continue;
        }
        let module = inside.split('/').next().unwrap_or_default();
        let module = module.strip_suffix(".rs").unwrap_or(module);
        let Some(own) = place(module) else {
            findings.push(source.finding(1, format!("{} does not list `{module}`", lib.path)));
            continue;
        };
        let code = product_code(source);
        for (line, used) in uses(code) {
            let advice = match place(&used) {
                _ if used == "config" && module != "app" && module != "config" => {
                    "no piece imports `config`: take your own `Config` and let config.rs look down"
                        .to_owned()
                }
                Some(other) if other >= own => continue,
                Some(_) => format!(
                    "`{module}` uses `{used}`, which {} lists above it: pass what is needed in, or \
                     move the shared words down (call.rs)",
                    lib.path
                ),
                None => format!(
                    "`crate::{used}` names no module of {}: name its module",
                    lib.path
                ),
            };
            findings.push(source.finding(line, advice));
        }
        let up = if inside.contains('/') {
            "super::super::"
        } else {
            "super::"
        };
        for (line, text) in (1..).zip(code.lines()) {
            if has_word(text, up) {
                let advice = "write `crate::module`, so that the law of arrows is seen to hold";
                findings.push(source.finding(line, advice));
            }
        }
    }
    findings
}

/// Words of the code that a folder must do without.
struct Ban {
    folder: &'static str,
    /// Modules that may.
    except: &'static [&'static str],
    words: &'static [&'static str],
    advice: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        folder: "router/src/",
        except: &["app", "listen", "binding", "upstream"],
        words: &["hyper::", "hyper_util::"],
        advice: "no hyper below binding or above upstream, so that h1 can become our own: use \
                 call::{Ask, Reply}",
    },
    Ban {
        folder: "crates/core/src/",
        except: &[],
        words: &[
            "tokio",
            "hyper",
            "tonic",
            "Instant::now",
            "SystemTime",
            "fastrand",
            "rand::",
            "std::fs",
            "std::net",
            "std::env",
            "std::thread",
        ],
        advice: "mesh-core decides and does nothing else: take time, chance and facts as arguments",
    },
    Ban {
        folder: "proto/src/",
        except: &["gen"],
        words: &[
            "tokio::",
            "hyper::",
            "Instant::now",
            "SystemTime::now",
            "std::fs",
            "std::net",
            "std::env",
            "std::thread",
        ],
        advice: "mesh-proto is a language: no I/O, no spawn, no clock",
    },
];

/// Code that does what its room must never do.
pub(crate) fn banned_words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in BANS {
        let Some(inside) = source.path.strip_prefix(ban.folder) else {
            continue;
        };
        let module = inside.split(['/', '.']).next().unwrap_or_default();
        if ban.except.contains(&module) {
            continue;
        }
        for word in ban.words {
            let lines = source.lines_with(word);
            findings.extend(lines.map(|(line, _)| {
                source.finding(line, format!("`{word}` in {}: {}", ban.folder, ban.advice))
            }));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
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
}
