/** What `verify` found: the object that `--json` prints. Names are those of the JSON. */
import type { ContentCounts, PartitionContent } from './content.ts';
import type { RepeatedRange } from './duplicates.ts';
import type { EarlierTopic, ForeignRows } from './foreign.ts';
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
export interface ContentReport extends ContentCounts {
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
