//! Groups the records of a batch by partition, in order.

/// Reusable memory for grouping. The time is linear in the number of records, whatever the number of partitions.
#[derive(Default)]
pub(crate) struct PartitionGroups {
    /// By group number: the partition, and where its positions end in `order`.
    groups: Vec<(i32, usize)>,
    /// By partition: its group number plus one; 0 between calls.
    group_of: Vec<u32>,
    /// Positions, group by group.
    order: Vec<u32>,
}

impl PartitionGroups {
    /// Groups the positions from `start` by their partition. Negative partitions form one group.
    pub(crate) fn group(&mut self, start: usize, partitions: &[i32]) {
        self.groups.clear();
        for partition in partitions {
            let index = index(*partition);
            if self.group_of.len() <= index {
                self.group_of.resize(index + 1, 0);
            }
            if self.group_of[index] == 0 {
                self.groups.push((*partition, 0));
                self.group_of[index] = self.groups.len() as u32;
            }
            self.groups[self.group_of[index] as usize - 1].1 += 1;
        }
        let mut end = 0;
        for (_, count) in &mut self.groups {
            end += std::mem::replace(count, end);
        }
        self.order.clear();
        self.order.resize(partitions.len(), 0);
        for (offset, partition) in partitions.iter().enumerate() {
            let group = &mut self.groups[self.group_of[index(*partition)] as usize - 1];
            self.order[group.1] = (start + offset) as u32;
            group.1 += 1;
        }
        for (partition, _) in &self.groups {
            self.group_of[index(*partition)] = 0;
        }
    }

    /// The groups, in the order of their first records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &[u32])> {
        let mut start = 0;
        self.groups
            .iter()
            .map(move |(partition, end)| (*partition, &self.order[std::mem::replace(&mut start, *end)..*end]))
    }

    /// Stores `positions` without grouping them.
    pub(crate) fn collect(&mut self, positions: impl Iterator<Item = usize>) {
        self.order.clear();
        self.order.extend(positions.map(|position| position as u32));
    }

    /// The positions of the last [`collect`](Self::collect).
    pub(crate) fn collected(&self) -> &[u32] {
        &self.order
    }
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).map_or(0, |partition| partition + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_the_order_of_their_positions() {
        let mut groups = PartitionGroups::default();
        for _ in 0..2 {
            groups.group(10, &[2, 0, 2, i32::MIN, 9_999, 0, 2]);
            let found: Vec<_> = groups.iter().map(|(partition, positions)| (partition, positions.to_vec())).collect();
            let expected = [(2, vec![10, 12, 16]), (0, vec![11, 15]), (i32::MIN, vec![13]), (9_999, vec![14])];
            assert_eq!(found, expected);
        }
    }
}
