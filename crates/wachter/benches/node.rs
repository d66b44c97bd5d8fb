//! What a node costs: the time until it is ready with a long journal, the time of a reload with many
//! agents, and what it takes while nothing happens.
//!
//! `cargo xtask bench` runs it as it is shipped. The argument is the number of rounds; an idle node is
//! watched for a second a round, and for ten minutes where no number is given.

#![allow(clippy::print_stdout, reason = "figures are data")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

mod place;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use wachter_api::{Client, ListAgents, Nothing, ReloadConfiguration};
use wachter_bus::{Bus, Options};
use wachter_model::{Event, Source};

use place::{Place, client_is_ready};

const EVENTS: u32 = 1_000_000;
const AGENTS: usize = 500;
const IDLE_AGENTS: usize = 20;
const ROUNDS: u32 = 30;
const IDLE: Duration = Duration::from_secs(600);

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse::<u32>().ok());
    let rounds = asked.unwrap_or(ROUNDS);
    let events = if rounds < ROUNDS { rounds * 1_000 } else { EVENTS };
    let idle = asked.map_or(IDLE, |rounds| Duration::from_secs(rounds.into()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        ready_and_reload(events, rounds).await;
        while_nothing_happens(idle).await;
    });
}

async fn ready_and_reload(events: u32, rounds: u32) {
    let place = with_agents(AGENTS, "events: [benchmark.wanted]");
    let local = fs::read_to_string(place.path("node.yaml")).unwrap();
    let settings = |settings: &str| {
        let text = format!("{}\nsettings: {{ {settings} }}\n", local.trim_end());
        fs::write(place.path("node.yaml"), text).unwrap();
    };
    fill(&place.path("data/journal"), events).await;
    let began = Instant::now();
    let mut node = place.start();
    let client = place.client();
    client_is_ready(&client, &node).await;
    say(&format!("ready with {events} events in the journal: {:.0?}", began.elapsed()));
    let mut one = Vec::new();
    let mut all = Vec::new();
    for round in 0..rounds {
        // That an agent is gone, or there again, shows that the change has been taken up.
        settings("agents: { agent-1: { enabled: false } }");
        one.push(reload(&client, AGENTS - 1).await);
        settings(&format!("modules: {{ bench: {{ with: {{ interval: {round} }} }} }}"));
        all.push(reload(&client, AGENTS).await);
    }
    say(&format!("reload with {AGENTS} agents, of which one changes: {}", spread(&mut one)));
    say(&format!("reload with {AGENTS} agents, which all change: {}", spread(&mut all)));
    node.kill().unwrap();
    node.wait().unwrap();
}

/// The time until so many agents are at work.
async fn reload(client: &Client, agents: usize) -> Duration {
    let began = Instant::now();
    client.call::<ReloadConfiguration>(&Nothing {}, &Nothing {}).await.unwrap();
    while client.call::<ListAgents>(&Nothing {}, &Nothing {}).await.unwrap().len() != agents {
        assert!(began.elapsed() < Duration::from_secs(60), "never were {agents} agents at work");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    began.elapsed()
}

async fn while_nothing_happens(time: Duration) {
    let place = with_agents(IDLE_AGENTS, "schedule: { every: 30s }");
    let mut node = place.start();
    client_is_ready(&place.client(), &node).await;
    let process = PathBuf::from(format!("/proc/{}", node.id()));
    let (before, began) = (processor_time(&process), Instant::now());
    tokio::time::sleep(time).await;
    let share = (processor_time(&process) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let status = fs::read_to_string(process.join("status")).unwrap();
    let size = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_start_matches(':').trim().to_owned()
    };
    say(&format!(
        "idle with {IDLE_AGENTS} agents every 30 s, over {time:?}: resident {}, of it anonymous {}, \
         {:.3} % of a processor",
        size("VmRSS"),
        size("RssAnon"),
        share * 100.0
    ));
    node.kill().unwrap();
    node.wait().unwrap();
}

/// Time on a processor, of the process without its children.
fn processor_time(process: &Path) -> Duration {
    let text = fs::read_to_string(process.join("stat")).unwrap();
    // What follows the name, which may hold anything: state is the third field, utime the 14th.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Events of a kilobyte each, which nobody listens to.
async fn fill(folder: &Path, count: u32) {
    fs::create_dir_all(folder).unwrap();
    let bus = Bus::open(Options::new(folder)).unwrap();
    let source: Source = "/benchmark".parse().unwrap();
    let topic = "benchmark.past".parse().unwrap();
    let text = "x".repeat(700);
    for batch in 0..count.div_ceil(500) {
        let events = (batch * 500..count.min((batch + 1) * 500)).map(|number| {
            let data = json!({ "number": number, "text": text });
            Event::builder(source.clone(), &topic).json(&data).build().unwrap()
        });
        bus.publish(events.collect()).await.unwrap();
    }
    bus.close();
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    format!("median {median:.1?}, longest {last:.1?}, {} rounds", times.len())
}

fn say(line: &str) {
    println!("{line}");
}

/// A place with so many agents of one module.
fn with_agents(count: usize, wakes_on: &str) -> Place {
    let place = Place::new();
    place.wachter(&["module", "new", "bench", "--language", "shell"]);
    let schema = json!({ "type": "object", "properties": { "interval": { "type": "integer" } } });
    fs::write(place.path("infra/modules/bench/input.schema.json"), schema.to_string()).unwrap();
    let agents = place.path("infra/config/agents");
    fs::remove_file(agents.join("system-monitor.yaml")).unwrap();
    for number in 0..count {
        let agent = format!("name: agent-{number}\nmodule: bench\non: {{ {wakes_on} }}\n");
        fs::write(agents.join(format!("agent-{number}.yaml")), agent).unwrap();
    }
    place.release();
    place
}
