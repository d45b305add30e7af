//! Members that a name leads to: agents of one source, and routers that can be compared.

use std::{collections::HashMap, io::Write as _};

use anyhow::{Result, ensure};
use mesh_tests::{
    caller::{
        BINDINGS,
        words::{question, said},
    },
    mesh::{Node, ready},
    process::{self, Process},
};

use crate::{
    names,
    stage::{mesh, program},
};

#[tokio::test]
async fn agents_of_one_name_are_served_by_routers_that_show_the_same_view() -> Result<()> {
    let workers = mesh(1).start().await?;
    let at = workers.workers[0].address;
    // Nobody at the first look.
    let looks = vec![Vec::new(), vec![at.ip()]];
    let names = HashMap::from([("workers.test", looks.clone()), ("again.test", looks)]);
    let server = names::serve("127.0.0.1:0".parse()?, names).await?;
    let mut hashes = Vec::new();
    for name in ["workers.test", "again.test"] {
        let source = format!("dns:{name}.:{}", at.port());
        let router = router(&source, &format!("server = \"{server}\"")).await?;
        router.is_ready().await?;
        for binding in BINDINGS {
            let caller = router.caller("assistant", binding);
            let task = caller.send(question("What is 20+3?")).await??;
            ensure!(said(&task) == "20+3 = 23", "{binding}: {task:?}");
        }
        let metrics = router.metrics().await?;
        let label = format!("source=\"{source}\"");
        ensure!(metrics.sum("mesh_directory_stale", &[&label])? < 0.5);
        ensure!(metrics.sum("mesh_view_members", &[])? > 1.5);
        hashes.push(metrics.sum("mesh_view_hash", &[])?.to_bits());
    }
    ensure!(hashes[0] == hashes[1] && hashes[0] != 0, "{hashes:?}");
    Ok(())
}

/// A router whose agents come from a source, with this in its `[directory.dns]`.
async fn router(source: &str, dns: &str) -> Result<Node> {
    let mut file = tempfile::NamedTempFile::new()?;
    writeln!(
        file,
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[directory.dns]\n{dns}\nttl_min = \"50ms\""
    )?;
    let mut command = process::daca(program());
    let agents = format!("{source}=assistant,planner");
    command.args(["router", "--agents-from", &agents, "--config"]);
    command.arg(file.path());
    let mut process = Process::start("router", command)?;
    let admin = process.line(|line| ready("admin", line)).await?;
    let address = process.line(|line| ready("router", line)).await?;
    Ok(Node {
        process,
        address,
        admin,
    })
}
