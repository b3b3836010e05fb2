/** Somebody's way to a row that carries the number of its last write: through a cache, or whatever is tested. */
export interface Client {
  read(row: number): Promise<number>;
  /** Writes this number, and settles when the write is acknowledged. */
  write(row: number, version: number): Promise<void>;
}

/** A read that gave something older than it may. */
export interface StaleRead {
  row: number;
  door: number;
  got: number;
  /** What it should have been at least, and how long before the read that was acknowledged, milliseconds. */
  acknowledged: number;
  sinceMs: number;
}

export interface FreshnessOptions {
  clients: readonly Client[];
  /** At how many of them rows are written; absent: at all. */
  writingClients?: number;
  rows: number;
  /** Reads and writes in all, at least, and how many reads are under way at once. */
  reads: number;
  writes: number;
  readers: number;
  /** What happens meanwhile: traffic goes on until it is over. */
  during?: Promise<void>;
  /** How long after its acknowledgement a write may be unknown at other doors, milliseconds. */
  delayMs: number;
  /** How long a writer rests after a write, milliseconds. */
  restMs(): number;
}

export interface Freshness {
  stale: StaleRead[];
  writes: number;
  /** How long each read took, milliseconds, in order. */
  readMs: number[];
}

interface Acknowledged {
  version: number;
  atMs: number;
  door: number;
}

/**
 * Reads rows through several doors while they are written through all of them, one write of a row at a time.
 * No read may give less than the last write that was acknowledged before it began: at the same door at once,
 * at others after `delayMs`. The tests of a cache and of its naive counterpart are this same one.
 */
export async function checkFreshness(options: FreshnessOptions): Promise<Freshness> {
  const { clients: doors, rows, delayMs } = options;
  const known = Array.from({ length: rows }, (): Acknowledged[] => []);
  const result: Freshness = { stale: [], writes: 0, readMs: [] };
  let isOver = options.during === undefined;
  const over = options.during?.finally(() => {
    isOver = true;
  });
  const isDone = () => isOver && result.readMs.length >= options.reads && result.writes >= options.writes;

  /** The last write of the row that was to be seen at this door at this time. */
  const due = (row: number, door: number, nowMs: number): Acknowledged | undefined =>
    known[row]?.findLast((write) => write.atMs <= (write.door === door ? nowMs : nowMs - delayMs));

  const read = async () => {
    while (!isDone()) {
      const row = pick(rows);
      const door = pick(doors.length);
      const startMs = performance.now();
      const last = due(row, door, startMs);
      const got = (await doors[door]?.read(row)) ?? Number.NaN;
      result.readMs.push(performance.now() - startMs);
      if (last !== undefined && !(got >= last.version)) {
        const sinceMs = startMs - last.atMs;
        result.stale.push({ row, door, got, acknowledged: last.version, sinceMs });
      }
      // Reads from memory are no reason to keep everybody else from their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const write = async (row: number) => {
    for (let version = 1; !isDone(); version += 1) {
      const door = pick(options.writingClients ?? doors.length);
      await doors[door]?.write(row, version);
      known[row]?.push({ version, door, atMs: performance.now() });
      result.writes += 1;
      await new Promise((resolve) => setTimeout(resolve, options.restMs()));
    }
  };
  await Promise.all([
    over,
    ...Array.from({ length: options.readers }, read),
    ...Array.from({ length: rows }, (_, row) => write(row)),
  ]);
  result.readMs.sort((a, b) => a - b);
  return result;
}

const pick = (count: number): number => Math.floor(Math.random() * count);
