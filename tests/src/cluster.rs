//! A private Apache Kafka cluster of three brokers and a controller: processes that listen on loopback, and a folder with their
//! data. All of it ends with the program, also if that is killed.
//!
//! The controller is a process of its own, so that a fault of any broker leaves it alone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use smol::future::block_on;

use crate::broker::{config_for, free_port};
use crate::kafka::{done, java, options, said};
use crate::slow_wire::SlowWire;

/// Brokers, with the ids 1 to 3.
pub const BROKERS: i32 = 3;

/// The controller's id.
pub const CONTROLLER: i32 = 4;

/// Longer than four processes take to start side by side on a busy machine.
const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// Kills the processes and removes the folder when its input ends. Each line that it reads has the ids of all processes.
const KEEPER: &str =
    r#"ids=; while read -r line; do ids=$line; done; [ -z "$ids" ] || kill -s KILL $ids; rm -rf -- "$0""#;

/// Three brokers and their controller.
pub struct Cluster {
    /// Where each broker listens.
    servers: Vec<String>,
    bootstrap_servers: String,
    folder: PathBuf,
    processes: Mutex<BTreeMap<i32, Child>>,
    keeper: Child,
    /// The wires between clients and each broker, if these are slow.
    wires: Vec<SlowWire>,
}

impl Cluster {
    /// Starts a cluster with empty logs, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start. The message has the ends of the logs.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// The same, with a [wire](SlowWire) to each broker, which clients take.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with_wires() -> Self {
        Self::start_with(true)
    }

    fn start_with(has_wires: bool) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("aioproducer-cluster-{}-{number}", process::id()));
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut keeper = Command::new("sh");
        let keeper = keeper.args(["-c", KEEPER]).arg(&folder).process_group(0).stdin(Stdio::piped());
        let keeper = keeper.stderr(Stdio::null()).spawn().expect("a shell");
        let ports: BTreeMap<i32, u16> = nodes().map(|node| (node, free_port())).collect();
        let behind: BTreeMap<i32, u16> =
            ports.iter().filter(|_| has_wires).map(|(node, _)| (*node, free_port())).collect();
        let wires =
            (1..=BROKERS).filter_map(|broker| Some(SlowWire::start(ports[&broker], *behind.get(&broker)?))).collect();
        let servers: Vec<_> = (1..=BROKERS).map(|broker| format!("127.0.0.1:{}", ports[&broker])).collect();
        let bootstrap_servers = servers.join(",");
        let cluster = Self { servers, bootstrap_servers, folder, processes: Mutex::default(), keeper, wires };
        cluster.format(&ports, &behind);
        nodes().for_each(|node| cluster.start_again(node));
        cluster.wait("all brokers to answer", || {
            (1..=BROKERS).all(|broker| {
                let admin = cluster.admin(cluster.address(broker));
                let metadata = admin.inner().fetch_metadata(None, Duration::from_millis(500));
                metadata.is_ok_and(|metadata| metadata.brokers().len() == BROKERS as usize)
            })
        });
        cluster
    }

    /// Prepares the folders of all nodes, at the same time.
    fn format(&self, ports: &BTreeMap<i32, u16>, behind: &BTreeMap<i32, u16>) {
        let format = ["kafka.tools.StorageTool", "format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg"];
        let running: Vec<_> = nodes()
            .map(|node| {
                fs::write(self.properties(node), properties(node, ports, behind.get(&node), &self.data(node)))
                    .expect("a file");
                let mut java = java(&self.folder, &format);
                let java = java.arg("--config").arg(self.properties(node)).stdin(Stdio::null());
                java.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("java runs")
            })
            .collect();
        for child in running {
            let formatted = child.wait_with_output().expect("it ends");
            assert!(formatted.status.success(), "a folder is not made: {}", said(&formatted));
        }
    }

    /// The value for `bootstrap.servers`. It stays the same when a broker is started again.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    fn address(&self, broker: i32) -> &str {
        &self.servers[broker as usize - 1]
    }

    /// A configuration that names the brokers and nothing else.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        config_for(&self.bootstrap_servers)
    }

    /// Creates a topic, and waits until all brokers know its leaders. Partition 0 is on broker 1, partition 1 on broker 2, and so
    /// on, round and round; each further replica is on the next broker.
    ///
    /// # Panics
    /// When the topic is not created in time.
    pub fn create_topic(&self, name: &str, partitions: i32, replicas: i32, settings: &[(&str, &str)]) {
        let assignment: Vec<_> = (0..partitions).map(|partition| nodes_of(partition, replicas)).collect();
        let assignment: Vec<&[i32]> = assignment.iter().map(Vec::as_slice).collect();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Variable(&assignment));
        topic.config.extend(settings);
        done(block_on(self.admin(&self.bootstrap_servers).create_topics([&topic], &options())).expect("an answer"));
        self.wait(&format!("{name} to have {partitions} partitions"), || {
            (1..=BROKERS).all(|broker| self.is_whole(name, broker))
        });
    }

    /// Adds partitions to a topic that has `from` with one replica each, until there are `to`. They are where `create_topic` would have
    /// placed them. It does not wait for their leaders.
    ///
    /// # Panics
    /// When the controller refuses it.
    pub fn grow_topic(&self, name: &str, from: i32, to: i32) {
        let assignment: Vec<_> = (from..to).map(|partition| nodes_of(partition, 1)).collect();
        let assignment: Vec<&[i32]> = assignment.iter().map(Vec::as_slice).collect();
        let grown = NewPartitions::new(name, to as usize).assign(&assignment);
        done(block_on(self.admin(&self.bootstrap_servers).create_partitions([&grown], &options())).expect("an answer"));
    }

    /// Whether each of a topic's partitions has a leader, and all its replicas are in sync, as a broker knows it now. One that was
    /// paused may know only what was true before, and one that is paused does not answer: then it is false.
    #[must_use]
    pub fn is_whole(&self, topic: &str, asked: i32) -> bool {
        // A client that knows no other broker yet.
        let admin = self.admin(self.address(asked));
        let Ok(metadata) = admin.inner().fetch_metadata(Some(topic), Duration::from_millis(500)) else { return false };
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions()).peekable();
        partitions.peek().is_some()
            && partitions
                .all(|partition| partition.leader() >= 0 && partition.isr().len() == partition.replicas().len())
    }

    /// Stops a node where it stands (SIGSTOP): its connections stay, and nothing answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self, node: i32) {
        self.signal(node, "STOP");
    }

    /// Lets a node that was paused go on (SIGCONT).
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self, node: i32) {
        self.signal(node, "CONT");
    }

    /// Answers of a broker take so long from now on.
    ///
    /// # Panics
    /// When there are no wires.
    pub fn slow(&self, broker: i32, delay: Duration) {
        self.wires[broker as usize - 1].set_delay(delay);
    }

    fn signal(&self, node: i32, signal: &str) {
        let processes = self.processes();
        let id = processes.get(&node).unwrap_or_else(|| panic!("node {node} does not run")).id().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, signal, &id]).status().expect("a shell");
        assert!(status.success(), "node {node} does not get SIG{signal}: {status}");
    }

    /// Kills a node (SIGKILL), and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self, node: i32) {
        let mut processes = self.processes();
        let mut child = processes.remove(&node).unwrap_or_else(|| panic!("node {node} does not run"));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        self.tell_keeper(&processes);
    }

    /// Starts a node that was killed, with the same data and address, and does not wait for it.
    ///
    /// # Panics
    /// When it runs.
    pub fn start_again(&self, node: i32) {
        let log = || OpenOptions::new().create(true).append(true).open(self.log(node)).expect("a file");
        let mut processes = self.processes();
        assert!(!processes.contains_key(&node), "node {node} runs");
        let mut java = java(&self.folder, &["kafka.Kafka"]);
        let java = java.arg(self.properties(node)).process_group(0).stdin(Stdio::null()).stdout(log()).stderr(log());
        processes.insert(node, java.spawn().expect("java runs"));
        self.tell_keeper(&processes);
    }

    fn tell_keeper(&self, processes: &BTreeMap<i32, Child>) {
        let ids: Vec<_> = processes.values().map(|child| child.id().to_string()).collect();
        let mut keeper = self.keeper.stdin.as_ref().expect("its input");
        keeper.write_all(format!("{}\n", ids.join(" ")).as_bytes()).expect("it reads");
    }

    fn admin(&self, servers: &str) -> AdminClient<DefaultClientContext> {
        let mut config = config_for(servers);
        config.set("reconnect.backoff.max.ms", "200").set("log_level", "0");
        config.create().expect("a client")
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            let late = start.elapsed() > WAIT_LIMIT;
            assert!(!late, "waited {WAIT_LIMIT:?} for {what}; the nodes said:\n{}", self.last_words());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<i32, Child>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn properties(&self, node: i32) -> PathBuf {
        self.folder.join(format!("{node}.properties"))
    }

    fn data(&self, node: i32) -> PathBuf {
        self.folder.join(format!("{node}.data"))
    }

    fn log(&self, node: i32) -> PathBuf {
        self.folder.join(format!("{node}.log"))
    }

    /// The end of what each node has printed.
    fn last_words(&self) -> String {
        let words = nodes().map(|node| {
            let mut text = Vec::new();
            // A log that cannot be read is empty.
            let _ = File::open(self.log(node)).and_then(|mut log| log.read_to_end(&mut text));
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            format!("node {node}:\n{}\n", lines[lines.len().saturating_sub(10)..].join("\n"))
        });
        words.collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, mut child) in std::mem::take(&mut *self.processes()) {
            // Either it has ended, or it ends now, also if it is paused.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.tell_keeper(&BTreeMap::new());
        self.keeper.stdin = None;
        let _ = self.keeper.wait();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

/// The brokers with a partition's replicas; the first one leads.
fn nodes_of(partition: i32, replicas: i32) -> Vec<i32> {
    (0..replicas).map(|replica| (partition + replica) % BROKERS + 1).collect()
}

fn nodes() -> impl Iterator<Item = i32> {
    // The controller starts first.
    [CONTROLLER].into_iter().chain(1..=BROKERS)
}

fn properties(node: i32, ports: &BTreeMap<i32, u16>, behind: Option<&u16>, data: &Path) -> String {
    let (role, listener) = if node == CONTROLLER { ("controller", "CONTROLLER") } else { ("broker", "PLAINTEXT") };
    // Clients and other brokers take the wire, whose port is the one that is known.
    let wire = behind.filter(|_| node != CONTROLLER);
    let advertised = wire.map(|_| format!("advertised.listeners=PLAINTEXT://127.0.0.1:{}\n", ports[&node]));
    format!(
        "process.roles={role}\n\
         node.id={node}\n\
         listeners={listener}://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         {advertised}controller.listener.names=CONTROLLER\n\
         controller.quorum.voters={CONTROLLER}@127.0.0.1:{controller}\n\
         log.dirs={data}\n\
         auto.create.topics.enable=false\n\
         group.initial.rebalance.delay.ms=0\n\
         log.retention.ms=-1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.num.partitions=4\n",
        port = wire.unwrap_or(&ports[&node]),
        advertised = advertised.unwrap_or_default(),
        controller = ports[&CONTROLLER],
        data = data.display(),
    )
}
