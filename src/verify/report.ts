/**
 * What `verify` found: the object that `--json` prints. Names are those of the JSON.
 *
 * What has to be known about the figures of a report.
 */
import type { ContentCounts, PartitionContent } from './content.ts';
import type { EarlierTopic, ForeignRows, RepeatedRange } from './faults.ts';
import type { ScopeOptions } from './partition-scope.ts';
import type { Range } from './ranges.ts';

/** `loss` stands for every fault: missing, twice, foreign, changed. */
export type Verdict = 'ok' | 'loss' | 'not_delivered';

/** Counts that are the same for a partition and in total. */
export interface Counts {
  /** Offsets compared. */
  readonly offsets: number;
  /** Of these, in `events`: rows. */
  readonly rows: number;
  /** Of these, in `dead_letters`. */
  readonly dead_letters: number;
  /** Of these, in `repeats`. */
  readonly repeats: number;
  /** Offsets without a record: Kafka's transactions leave them. */
  readonly gaps: number;
  /** Records that are in no table. */
  readonly missing: number;
  /** Of these, offsets of which the buffer was not asked whether it holds a record there. */
  readonly unconfirmed: number;
  /** Offsets with more than one row in `events`. */
  readonly duplicated: number;
  /** Offsets in `repeats` that are in `events` or `dead_letters` as well: the streamer puts each into one of them. */
  readonly repeats_kept: number;
  /** Rows beyond the end of the buffer, or in a partition that it does not have. */
  readonly foreign: number;
  /** Offsets of inserts under way. */
  readonly in_flight: number;
  /** Offsets that no insert has begun with. */
  readonly waiting: number;
}

/** One partition. */
export interface PartitionReport extends Counts {
  readonly partition: number;
  /** The offsets compared. */
  readonly checked: Range;
  /** What the buffer holds. */
  readonly buffer: Range;
  /** Everything before it was delivered; null when nothing was ever committed. */
  readonly committed: number | null;
  /** The first of the missing ranges. */
  readonly missing_ranges: readonly Range[];
  /** Removed from the buffer before they were committed, and how many of them no table holds; null when all are there. */
  readonly expired: (Range & { readonly missing: number }) | null;
  /** The first of the duplicated ranges. */
  readonly duplicated_ranges: readonly RepeatedRange[];
  /** The first of the ranges that are in `repeats` and in another table. */
  readonly repeats_kept_ranges: readonly Range[];
  /** Offsets of the insert under way. */
  readonly in_flight_range: Range | null;
  /** Age of the oldest record that is not delivered, seconds; null when there is none. */
  readonly oldest_undelivered_seconds: number | null;
}

/** What became of a client's receipts. */
export interface ReceiptsReport {
  /** Events acknowledged, by the client's list; the same one twice counts once. */
  readonly receipts: number;
  /** In a table. */
  readonly delivered: number;
  /** In the buffer, not delivered yet. */
  readonly pending: number;
  /** Below the commit, and in no table. */
  readonly missing: number;
  /** Acknowledged, but the buffer does not hold them: beyond its end, or in a partition that it does not have. */
  readonly unknown: number;
  /** Spooled, and in no table: on their way, or lost. */
  readonly spooled_not_found: number;
  /** Spooled, and in `events` more than once. */
  readonly spooled_duplicated: number;
  /** The first of the missing and unknown ones. */
  readonly lost: readonly (Range & { readonly partition: number })[];
  /** The first of the spooled ones that were not found. */
  readonly not_found: readonly (Range & { readonly spool: string })[];
}

/** Whether the tables hold the bytes of the buffer. */
interface ContentReport extends ContentCounts {
  readonly partitions: readonly PartitionContent[];
}

/** Everything. */
export interface Report {
  readonly verdict: Verdict;
  readonly topic: string;
  readonly topic_id: string;
  readonly total: Counts;
  readonly partitions: readonly PartitionReport[];
  readonly foreign_rows: readonly ForeignRows[];
  /** Rows of topics that had the same name before; no fault. */
  readonly earlier_topics: readonly EarlierTopic[];
  /** Whether everything that was in the buffer at the start was delivered within `--wait`; null without it. */
  readonly all_delivered: boolean | null;
  readonly receipts: ReceiptsReport | null;
  /** Null without `--content`. */
  readonly content: ContentReport | null;
  /** What to know about these figures, for a person. */
  readonly notes: readonly string[];
  readonly seconds: number;
}

/** Adds up. */
export function sumCounts(list: readonly Counts[]): Counts {
  const sum = (key: keyof Counts) => list.reduce((total, counts) => total + counts[key], 0);
  return {
    offsets: sum('offsets'),
    rows: sum('rows'),
    dead_letters: sum('dead_letters'),
    repeats: sum('repeats'),
    gaps: sum('gaps'),
    missing: sum('missing'),
    unconfirmed: sum('unconfirmed'),
    duplicated: sum('duplicated'),
    repeats_kept: sum('repeats_kept'),
    foreign: sum('foreign'),
    in_flight: sum('in_flight'),
    waiting: sum('waiting'),
  };
}

/** Adds up what was found of each partition. */
export function sumContent(partitions: readonly PartitionContent[]): ContentReport {
  const sum = (key: keyof ContentCounts) => partitions.reduce((total, counts) => total + counts[key], 0);
  return { checked: sum('checked'), unchecked: sum('unchecked'), different: sum('different'), partitions };
}

/** What it comes to. */
export function judge(report: Pick<Report, 'total' | 'receipts' | 'content' | 'all_delivered'>): Verdict {
  const { missing, duplicated, repeats_kept, foreign } = report.total;
  const { receipts } = report;
  const lost = receipts === null ? 0 : receipts.missing + receipts.unknown + receipts.spooled_duplicated;
  const changed = report.content?.different ?? 0;
  if (missing + duplicated + repeats_kept + foreign + lost + changed > 0) return 'loss';
  const isOpen = report.all_delivered === false || (receipts?.spooled_not_found ?? 0) > 0;
  return isOpen ? 'not_delivered' : 'ok';
}

/** Sentences for a person; none when the figures speak for themselves. */
export function collectNotes(
  report: Omit<Report, 'verdict' | 'notes'>,
  options: ScopeOptions & { readonly isDense: boolean; readonly isBudgetUsed: boolean },
): string[] {
  const { total, partitions, receipts, content, earlier_topics, all_delivered } = report;
  const notes: string[] = [];
  const expired = partitions.filter((partition) => partition.expired !== null);
  if (expired.length > 0) {
    const places = expired.map(
      ({ partition, expired: range }) =>
        `partition ${partition}: ${range?.missing} of ${range?.start} to ${(range?.end ?? 0) - 1}`,
    );
    notes.push(
      `Retention removed records from the buffer before they were delivered, in ${places.join(', ')}. They are lost.`,
    );
  }
  if (options.all && total.missing > 0) {
    notes.push(
      'With --all, offsets that the buffer no longer holds are compared, too. There, rows that a TTL or a person removed from the tables look like loss, and so do offsets that never held a record.',
    );
  }
  if (total.unconfirmed > 0) {
    notes.push(
      options.isBudgetUsed
        ? `The limit for reading the buffer was reached, so verify did not check whether the last ${total.unconfirmed} missing offsets hold records. Narrow the comparison with --since and --until.`
        : `Of ${total.unconfirmed} missing offsets it is not known whether they held records: the buffer no longer holds them.`,
    );
  }
  if (options.until !== undefined)
    notes.push('With --until, verify checks neither rows after that time nor rows without a record.');
  if (all_delivered === false)
    notes.push(
      `Not everything that was in the buffer at the start was delivered within --wait: check that the streamer runs and reaches ClickHouse. This is not loss: the records are still in the buffer.`,
    );
  if (receipts !== null && receipts.spooled_not_found > 0) {
    notes.push(
      `${receipts.spooled_not_found} spooled receipts are in no table. Their events are in the spool of a collector or in the buffer; if no collector has a spool left and nothing is waiting, they are lost. An event that came with an id of its own keeps it and cannot be found by its receipt.`,
    );
  }
  if (content !== null && content.unchecked > 0) {
    notes.push(
      `The content of ${content.unchecked} records cannot be checked: the tables do not have their bytes (--keep-raw, or an earlier version stored them), or the buffer no longer has them.`,
    );
  }
  if (earlier_topics.length > 0) {
    const rows = earlier_topics.reduce((sum, topic) => sum + topic.rows, 0);
    notes.push(
      `${rows} rows belong to ${earlier_topics.length === 1 ? 'an earlier topic' : `${earlier_topics.length} earlier topics`} of the same name; they were not compared.`,
    );
  }
  return notes;
}
