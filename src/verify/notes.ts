/** What has to be known about the figures of a report. */
import type { Report } from './report.ts';
import type { ScopeOptions } from './scope.ts';

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
      'With --all, offsets that the buffer holds no longer are compared, too: rows that a TTL or a person has removed from the tables look like loss there, and so do offsets that never held a record.',
    );
  }
  if (total.unconfirmed > 0) {
    notes.push(
      options.isBudgetUsed
        ? `The limit for reading the buffer was reached: whether the last ${total.unconfirmed} missing offsets hold records was not looked at. Narrow it with --since and --until.`
        : `Of ${total.unconfirmed} missing offsets the buffer could not say whether they held records: it holds them no longer.`,
    );
  }
  if (options.until !== undefined)
    notes.push('With --until, rows after that time are not looked at, nor rows that belong to no record.');
  if (all_delivered === false)
    notes.push(
      `Not everything that was in the buffer at the start was delivered within --wait: is the streamer running, and does it reach ClickHouse? This is not loss: it is still in the buffer.`,
    );
  if (receipts !== null && receipts.spooled_not_found > 0) {
    notes.push(
      `${receipts.spooled_not_found} spooled receipts are in no table. They are in the spool of a collector, or in the buffer; when no collector has a spool left and nothing is waiting, they are lost. An event that brought an id of its own keeps it, and cannot be found by its receipt.`,
    );
  }
  if (content !== null && content.unchecked > 0) {
    notes.push(
      `The content of ${content.unchecked} records cannot be checked: the tables do not have their bytes (--keep-raw, or an earlier version stored them), or the buffer has them no longer.`,
    );
  }
  if (earlier_topics.length > 0) {
    const rows = earlier_topics.reduce((sum, topic) => sum + topic.rows, 0);
    notes.push(
      `${rows} rows are of ${earlier_topics.length === 1 ? 'an earlier topic' : `${earlier_topics.length} earlier topics`} of the same name; they were not compared.`,
    );
  }
  return notes;
}
