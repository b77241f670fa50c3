//! A private Apache Kafka broker: a process that listens on loopback and a folder with its data. Both end with the test.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use aioproducer_rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use smol::future::block_on;

use crate::broker::{config_for, free_port};
use crate::proxy::Proxy;

/// The environment variable that names the folder with Kafka's jars.
const JARS: &str = "AIOPRODUCER_KAFKA_JARS";

/// Longer than a broker takes to start, to stop, or to answer.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(45);

/// Kills the broker and removes its folder when its input ends, also after the test was killed. Each line that it reads
/// is the broker's process id, or empty if there is no process.
const KEEPER: &str =
    r#"pid=; while read -r line; do pid=$line; done; [ -z "$pid" ] || kill -s KILL "$pid"; rm -rf -- "$0""#;

static SHARED: LazyLock<Kafka> = LazyLock::new(Kafka::start);

/// A broker.
pub struct Kafka {
    servers: String,
    /// The listener behind the proxy. The broker advertises the proxy's address for it, so clients stay there.
    proxied_servers: String,
    /// The listener that asks for a login.
    login_servers: String,
    proxy: Proxy,
    folder: PathBuf,
    admin: AdminClient<DefaultClientContext>,
    process: Mutex<Option<Child>>,
    keeper: Child,
    names: AtomicUsize,
}

impl Kafka {
    /// Starts a broker with an empty log, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start. The message has the end of the broker's log.
    #[must_use]
    pub fn start() -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("aioproducer-kafka-{}-{number}", process::id()));
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let ports @ [port, _, behind, proxy, login] = [(); 5].map(|()| free_port());
        let servers = format!("127.0.0.1:{port}");
        let mut config = config_for(&servers);
        config.set("reconnect.backoff.max.ms", "200");
        let mut keeper = Command::new("sh");
        let keeper = keeper.args(["-c", KEEPER]).arg(&folder).process_group(0).stdin(Stdio::piped());
        let keeper = keeper.stderr(Stdio::null()).spawn().expect("a shell");
        let kafka = Self {
            servers,
            proxied_servers: format!("127.0.0.1:{proxy}"),
            login_servers: format!("127.0.0.1:{login}"),
            proxy: Proxy::start(proxy, behind),
            folder,
            admin: config.create().expect("a client"),
            process: Mutex::default(),
            keeper,
            names: AtomicUsize::default(),
        };
        fs::write(kafka.properties(), properties(ports, &kafka.folder)).expect("a file");
        let format = ["kafka.tools.StorageTool", "format", "--standalone", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg"];
        let properties = kafka.properties();
        let formatted = java(&kafka.folder, &format).arg("--config").arg(&properties).output().expect("java runs");
        assert!(formatted.status.success(), "its folder is not made: {}", said(&formatted));
        kafka.start_again();
        kafka
    }

    /// The broker that all tests of this process share. The first call starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// The value for `bootstrap.servers`. It stays the same when the broker is started again.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.servers
    }

    /// The same behind the proxy, on which [`Proxy::lose_answers`] may be called.
    #[must_use]
    pub fn proxied_servers(&self) -> &str {
        &self.proxied_servers
    }

    /// The same with a login by SASL PLAIN, for the user `writer`, who may do everything, or `stranger`, who may do nothing.
    /// Both have the password `right`.
    #[must_use]
    pub fn login_servers(&self) -> &str {
        &self.login_servers
    }

    /// The proxy between clients and the broker.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// A configuration that names the broker and nothing else.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        config_for(&self.servers)
    }

    /// A unique name for a topic, a group, or a transactional id.
    #[must_use]
    pub fn fresh(&self, name: &str) -> String {
        format!("{name}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates a topic whose name begins with `name`, and waits until its partitions have a leader.
    ///
    /// # Panics
    /// When the topic is not created in time.
    #[must_use]
    pub fn topic(&self, name: &str, partitions: usize) -> String {
        self.topic_with(name, partitions, &[])
    }

    /// The same, with settings of the topic.
    ///
    /// # Panics
    /// When the topic is not created in time.
    #[must_use]
    pub fn topic_with(&self, name: &str, partitions: usize, settings: &[(&str, &str)]) -> String {
        let name = self.fresh(name);
        self.create_topic(&name, partitions, settings);
        name
    }

    /// Creates a topic with exactly this name, and waits until its partitions have a leader.
    ///
    /// # Panics
    /// When the topic is not created in time.
    pub fn create_topic(&self, name: &str, partitions: usize, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(1));
        topic.config.extend(settings);
        done(block_on(self.admin.create_topics([&topic], &options())).expect("an answer"));
        self.wait_for_partitions(name, partitions);
    }

    /// Deletes a topic, and waits until it is gone from the metadata and from the disk.
    ///
    /// # Panics
    /// When the topic is not deleted in time.
    pub fn delete_topic(&self, name: &str) {
        done(block_on(self.admin.delete_topics(&[name], &options())).expect("an answer"));
        self.wait_for_partitions(name, 0);
        // Its files may stay for a moment.
        self.wait(&format!("the log of {name} to go"), || !self.has_log(name));
    }

    fn has_log(&self, topic: &str) -> bool {
        let is_partition = |name: &str| {
            let partition = name.strip_prefix(topic).and_then(|rest| rest.strip_prefix('-'));
            partition.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let mut logs = fs::read_dir(self.folder.join("data")).expect("the broker's folder").flatten();
        logs.any(|log| log.file_name().to_str().is_some_and(is_partition))
    }

    /// Adds partitions to a topic until there are `count`, and waits until they have a leader.
    ///
    /// # Panics
    /// When the partitions are not added in time.
    pub fn grow_topic(&self, name: &str, count: usize) {
        let grown = NewPartitions::new(name, count);
        done(block_on(self.admin.create_partitions([&grown], &options())).expect("an answer"));
        self.wait_for_partitions(name, count);
    }

    fn wait_for_partitions(&self, topic: &str, count: usize) {
        self.wait(&format!("{topic} to have {count} partitions"), || {
            let Ok(metadata) = self.admin.inner().fetch_metadata(Some(topic), Duration::from_secs(2)) else {
                return false;
            };
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.filter(|partition| partition.leader() >= 0).count() == count
        });
    }

    /// Stops the broker as an operator does (SIGTERM), and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&self) {
        let id = self.process().as_ref().expect("it runs").id().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -s TERM "$0""#, &id]).status().expect("a shell");
        assert!(status.success(), "the broker cannot be stopped: {status}");
        self.wait("the broker to stop", || self.has_ended());
        self.gone();
    }

    /// Kills the broker (SIGKILL), and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        self.process().as_mut().expect("it runs").kill().expect("it is ours");
        self.wait("the broker to be gone", || self.has_ended());
        self.gone();
    }

    /// Starts a broker that was stopped or killed, with the same data and address, and waits until it answers.
    ///
    /// # Panics
    /// When it runs, or does not start.
    pub fn start_again(&self) {
        let log = || OpenOptions::new().create(true).append(true).open(self.log()).expect("a file");
        {
            let mut process = self.process();
            assert!(process.is_none(), "it runs");
            let mut java = java(&self.folder, &["kafka.Kafka"]);
            let java = java.arg(self.properties()).process_group(0).stdin(Stdio::null()).stdout(log()).stderr(log());
            let child = java.spawn().expect("java runs");
            self.tell_keeper(&child.id().to_string());
            *process = Some(child);
        }
        self.wait("the broker to answer", || {
            assert!(!self.has_ended(), "the broker has ended, and said:\n{}", self.last_words());
            let metadata = self.admin.inner().fetch_metadata(None, Duration::from_millis(500));
            metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
        });
    }

    /// Runs a program of Kafka's own on `input`, and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, class_and_arguments: &[&str], input: &str) -> String {
        let mut java = java(&self.folder, class_and_arguments);
        let java = java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = java.spawn().expect("java runs");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{class_and_arguments:?}: {}", said(&output));
        said(&output)
    }

    fn has_ended(&self) -> bool {
        let mut process = self.process();
        process.as_mut().is_none_or(|child| child.try_wait().expect("it is ours").is_some())
    }

    fn gone(&self) {
        self.tell_keeper("");
        *self.process() = None;
    }

    fn tell_keeper(&self, line: &str) {
        let mut keeper = self.keeper.stdin.as_ref().expect("its input");
        keeper.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            let late = start.elapsed() > WAIT_LIMIT;
            assert!(!late, "waited {WAIT_LIMIT:?} for {what}; the broker said:\n{}", self.last_words());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The end of what the broker has printed.
    fn last_words(&self) -> String {
        let mut text = Vec::new();
        // A log that cannot be read is empty.
        let _ = File::open(self.log()).and_then(|mut log| log.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(mut child) = self.process().take() {
            // Either it has ended, or it ends now.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.tell_keeper("");
        self.keeper.stdin = None;
        let _ = self.keeper.wait();
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// A program of Kafka's, which works in `folder`.
pub(crate) fn java(folder: &Path, class_and_arguments: &[&str]) -> Command {
    let mut jars = jars().into_os_string();
    jars.push("/*");
    let mut java = Command::new("java");
    // Small heap, fast start.
    java.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars).args(class_and_arguments);
    java.env_remove("CLASSPATH").current_dir(folder);
    java
}

fn jars() -> PathBuf {
    let folder: OsString = env::var_os(JARS)
        .unwrap_or_else(|| panic!("{JARS} does not name a folder with Kafka's jars; checks/kafka/check.sh gets them"));
    folder.into()
}

fn properties([port, controller, behind, proxy, login]: [u16; 5], folder: &Path) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "process.roles=broker,controller\n\
         node.id=1\n\
         listeners=DIRECT://127.0.0.1:{port},PROXIED://127.0.0.1:{behind},LOGIN://127.0.0.1:{login},\
         CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=DIRECT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy},LOGIN://127.0.0.1:{login}\n\
         listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN\n\
         listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_writer=\"right\" user_stranger=\"right\";\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS;User:writer\n\
         inter.broker.listener.name=DIRECT\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         log.dirs={}\n",
        folder.join("data").display()
    );
    text.push_str(
        "auto.create.topics.enable=false\n\
         group.initial.rebalance.delay.ms=0\n\
         # Records with old timestamps stay.\n\
         log.retention.ms=-1\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=200\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n",
    );
    text
}

pub(crate) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WAIT_LIMIT)).operation_timeout(Some(WAIT_LIMIT))
}

pub(crate) fn done(results: Vec<TopicResult>) {
    for result in results {
        result.unwrap_or_else(|(topic, error)| panic!("{topic}: {error}"));
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
