//! A network of a test's own: its addresses are those of the test, and there is no way out of it.
//!
//! The test runs its own binary again, inside. That takes Linux with `unshare`, `ip` and the right to make
//! namespaces; where one of them is missing the test is not run, and says so.

use std::{net::IpAddr, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::process::{run, say};

/// Tells the second run that it is inside.
const INSIDE: &str = "DACA_TEST_NETWORK";

/// How the script ends where no network can be made.
const CANNOT: i32 = 97;

/// Makes the network, then becomes the test. The resolver's file is another one for this mount namespace
/// only.
const SCRIPT: &str = r#"
set -e
trap 'exit 97' EXIT
ip link set lo up
for address in $ADDRESSES; do
    case $address in
        *:*) ip -6 addr add "$address/128" dev lo nodad ;;
        *) ip addr add "$address/32" dev lo ;;
    esac
done
mount --bind "$RESOLVER" /etc/resolv.conf
trap - EXIT
exec "$@"
"#;

/// Whether this is the run inside.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a test again, in a network that has these addresses beside loopback's. False where that can't be
/// done here, after a `NOT RUN` line.
///
/// # Errors
/// When the test fails inside; or when no network can be made although `DACA_REQUIRE_PARTS` asks for it.
pub async fn again(test: &str, addresses: &[IpAddr]) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let resolver = folder.path().join("resolv.conf");
    std::fs::write(
        &resolver,
        "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n",
    )?;
    let itself = std::env::current_exe()?;
    let output = match run(command(&itself, test, addresses, &resolver)).await {
        Ok(output) => output,
        // No such program. One that hangs is a test that fails.
        Err(error) if error.is::<std::io::Error>() => return cannot(&format!("{error:#}")),
        Err(error) => return Err(error),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // `unshare` itself ends with 1 where it may not; a test that fails does so with 101.
    if matches!(output.status.code(), Some(CANNOT | 1)) {
        return cannot(said.trim());
    }
    let heard = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "inside its own network:\n{heard}\n{said}"
    );
    ensure!(heard.contains("1 passed"), "{test} was not run:\n{heard}");
    Ok(true)
}

fn command(itself: &Path, test: &str, addresses: &[IpAddr], resolver: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--kill-child", "--fork"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    command
        .args(["sh", "-c", SCRIPT, "sh"])
        .arg(itself)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("ADDRESSES", addresses.join(" "))
        .env("RESOLVER", resolver);
    command
}

/// Root makes a network without a user namespace, in which some systems forbid more.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    users.is_some_and(|users| users.split_whitespace().nth(1) == Some("0"))
}

fn cannot(reason: &str) -> Result<bool> {
    if std::env::var_os("DACA_REQUIRE_PARTS").is_some_and(|value| value == "1") {
        bail!("a network of the test's own: {reason}");
    }
    say(&format!("NOT RUN: a network of the test's own: {reason}"));
    Ok(false)
}

/// An address, read.
///
/// # Errors
/// When it is none.
pub fn ip(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}
