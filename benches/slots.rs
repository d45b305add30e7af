//! What a routing decision costs: slot table against the ring of crate `consistent_hash`, the build
//! of a table, the route token, and a whole placement.

use std::hint::black_box;

use consistent_hash::{DefaultHash, Node, StaticHashRing};
use criterion::{BenchmarkId, Criterion, Throughput};
use mesh_bench::{ids, members};
use mesh_core::{
    placement::{Facts, Standing, place},
    slots::{self, Kind, Table},
    token::{self, Keys, Route},
    view::{Listed, Tables, View},
};
use mesh_proto::{
    AgentName, Operation,
    mesh::{Cell, Incarnation, Slot},
};

/// As many members as `up` starts, as a good team runs, as a cell may hold.
const SIZES: [usize; 3] = [3, 100, 1000];

/// Points per member on the ring: what ketama uses, and the least that balances within 30 %.
const RING_POINTS: usize = 160;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lookup(&mut criterion);
    build(&mut criterion);
    route_token(&mut criterion);
    placement(&mut criterion);
    criterion.final_summary();
}

/// From an id to the ordered members, both ways.
fn lookup(criterion: &mut Criterion) {
    let keys = Keys::development();
    let agent = agent();
    let ids = ids(4096);
    let mut group = criterion.benchmark_group("lookup");
    for size in SIZES {
        let members = members(size);
        let table = Table::build(&members).expect("more than one member");
        let mut next = ids.iter().cycle();
        group.bench_function(BenchmarkId::new("slot_table", size), |bencher| {
            bencher.iter(|| {
                let id = next.next().expect("a cycle does not end");
                let slot = slots::slot(keys.slots(), Kind::Context, &agent, None, black_box(id));
                black_box(table.preference(slot)[0])
            });
        });
        let nodes = members
            .iter()
            .map(|member| Node::new(member.id.as_str()).quantity(RING_POINTS));
        let ring = StaticHashRing::new(DefaultHash, nodes);
        let mut next = ids.iter().cycle();
        group.bench_function(BenchmarkId::new("consistent_hash_ring", size), |bencher| {
            bencher.iter(|| {
                let id = next.next().expect("a cycle does not end");
                black_box(ring.calc_candidates(black_box(id)).next())
            });
        });
        let mut next = 0_u16;
        group.bench_function(BenchmarkId::new("slot_table_alone", size), |bencher| {
            bencher.iter(|| {
                // A prime step: every slot comes up, and none after its neighbour.
                next = next.wrapping_add(7919);
                black_box(table.preference(Slot(next))[0])
            });
        });
    }
    group.finish();
}

/// From a member set to its table.
fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    for size in SIZES {
        let members = members(size);
        group.bench_function(BenchmarkId::new("slot_table", size), |bencher| {
            bencher.iter(|| Table::build(black_box(&members)));
        });
        group.bench_function(BenchmarkId::new("consistent_hash_ring", size), |bencher| {
            bencher.iter(|| {
                let nodes = members
                    .iter()
                    .map(|member| Node::new(member.id.as_str()).quantity(RING_POINTS));
                StaticHashRing::new(DefaultHash, nodes)
            });
        });
    }
    let agents = 10_000;
    group.throughput(Throughput::Elements(agents));
    group.bench_function("view_of_10000_agents_over_3_workers", |bencher| {
        let mut tables = Tables::default();
        // Held as a router holds the view in use, so that the table is found again.
        let first = view(agents, 3, &mut tables);
        bencher.iter(|| view(agents, 3, &mut tables));
        drop(first);
    });
    group.finish();
}

fn route_token(criterion: &mut Criterion) {
    let keys = Keys::development();
    let route = some_route();
    let id = format!("{}.{}", keys.seal(route, "desk", None), ids(1)[0]);
    let mut group = criterion.benchmark_group("token");
    group.bench_function("seal", |bencher| {
        bencher.iter(|| keys.seal(black_box(route), "desk", None));
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| keys.open(black_box(&id), "desk", None));
    });
    group.finish();
}

/// The whole decision, from ids to candidates.
fn placement(criterion: &mut Criterion) {
    let keys = Keys::development();
    let agent = agent();
    let view = view(1, 1000, &mut Tables::default());
    let pool = view.pool("agent-0").expect("the view has it");
    let id = ids(1).remove(0);
    let task = format!("{}.{id}", keys.seal(some_route(), "desk", None));
    let send = Facts {
        operation: Operation::SendMessage,
        agent: &agent,
        tenant: None,
        task_id: None,
        context_id: None,
        message_id: Some(&id),
    };
    let get = Facts {
        operation: Operation::GetTask,
        task_id: Some(&task),
        message_id: None,
        ..send
    };
    let mut group = criterion.benchmark_group("place");
    for (name, facts) in [("new_message", send), ("task_by_token", get)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| place(pool, &keys, black_box(&facts), |_| Standing::Usable));
        });
    }
    group.bench_function("new_message_with_only_one_of_1000_usable", |bencher| {
        let standing = |member| match member {
            999 => Standing::Usable,
            _ => Standing::Ejected,
        };
        bencher.iter(|| place(pool, &keys, black_box(&send), standing));
    });
    group.finish();
}

fn agent() -> AgentName {
    AgentName::parse("desk").expect("a valid name")
}

fn some_route() -> Route {
    Route {
        cell: Cell(0),
        slot: Slot(4711),
        incarnation: Incarnation(0xdead_beef),
        kind: token::Kind::Native,
        minted_hour: 498_000,
    }
}

fn view(agents: u64, workers: usize, tables: &mut Tables) -> View {
    let listed: Vec<Listed> = members(workers).into_iter().map(Listed::new).collect();
    let listing = (0..agents).map(|number| {
        let name = AgentName::parse(&format!("agent-{number}")).expect("a valid name");
        (name, listed.clone())
    });
    View::build(listing, tables).expect("a listing without contradictions")
}
