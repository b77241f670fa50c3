//! What was sent against what was read.

use std::fmt;

use super::place::Found;
use super::send::Sent;
use super::text::Text;

/// How many problems are shown in full.
const SHOWN: usize = 5;

/// Goes through the records that were read, partition by partition in the order of their offsets.
pub(crate) struct Comparison<'a> {
    text: &'a Text,
    /// For each partition, offset and number of its lines in the order of sending.
    partitions: Vec<Vec<(i64, usize)>>,
    /// How often each line was read.
    seen: Vec<u32>,
    /// For each partition: records read, and the last one's offset.
    read: Vec<(u64, i64)>,
    problems: Problems,
}

/// What is wrong.
#[derive(Default)]
pub(crate) struct Problems {
    pub(crate) count: usize,
    shown: Vec<String>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(text: &'a Text, sent: &Sent, partitions: usize) -> Self {
        let mut comparison = Self {
            text,
            partitions: vec![Vec::new(); partitions],
            seen: vec![0; text.lines.len()],
            read: vec![(0, -1); partitions],
            problems: Problems::default(),
        };
        for (line, &(partition, offset)) in sent.places.iter().enumerate() {
            match usize::try_from(partition).ok().and_then(|partition| comparison.partitions.get_mut(partition)) {
                Some(lines) => lines.push((offset, line)),
                None => comparison.problems.add(|| format!("line {}: delivered to partition {partition}", line + 1)),
            }
        }
        for (partition, lines) in comparison.partitions.iter_mut().enumerate() {
            // Lines were sent in the order of their numbers, so their offsets have to rise with them.
            for pair in lines.windows(2).filter(|pair| pair[0].0 >= pair[1].0) {
                let [(before, first), (after, second)] = [pair[0], pair[1]];
                comparison.problems.add(|| {
                    format!(
                        "order: line {} is at offset {before} of partition {partition}, line {} after it at {after}",
                        first + 1,
                        second + 1,
                    )
                });
            }
            lines.sort_unstable();
        }
        comparison
    }

    /// Compares a record with the line that was delivered to its place.
    pub(crate) fn add(&mut self, found: Found<'_>) {
        let Found { partition, offset, payload } = found;
        let (count, last) = &mut self.read[partition];
        if offset <= *last {
            self.problems.add(|| format!("partition {partition}: offset {offset} was read after {last}"));
        }
        *count += 1;
        *last = offset;

        let lines = &self.partitions[partition];
        match lines.binary_search_by_key(&offset, |&(offset, _)| offset) {
            Ok(at) => {
                let line = lines[at].1;
                self.seen[line] += 1;
                if payload != Some(&self.text.lines[line][..]) {
                    self.problems.add(|| {
                        let payload = payload.map(|payload| String::from_utf8_lossy(&payload[..payload.len().min(60)]));
                        format!("line {}: partition {partition}, offset {offset} holds {payload:?}", line + 1)
                    });
                }
            }
            Err(_) => self.problems.add(|| {
                format!("partition {partition}: no line was delivered to offset {offset}; a duplicate, or not ours")
            }),
        }
    }

    /// How many records were read of a partition.
    pub(crate) fn read(&self, partition: usize) -> u64 {
        self.read[partition].0
    }

    /// Looks for lines that were not read, or more than once.
    pub(crate) fn finish(mut self) -> Problems {
        for (line, &times) in self.seen.iter().enumerate().filter(|&(_, &times)| times != 1) {
            self.problems.add(|| format!("line {}: read {times} times", line + 1));
        }
        self.problems
    }
}

impl Problems {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= SHOWN {
            self.shown.push(problem());
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.shown {
            writeln!(f, "  {problem}")?;
        }
        write!(f, "  {} in all", self.count)
    }
}
