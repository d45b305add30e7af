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
            "mesh-card",
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
        name: "mesh-sim",
        imports: &[
            "mesh-proto",
            "mesh-core",
            "mesh-runtime",
            "mesh-fabric",
            "mesh-client",
            "daca-router",
            "daca-worker",
        ],
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
mod tests;
