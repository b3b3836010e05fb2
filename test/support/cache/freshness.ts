/** A client of rows that contain the number of their last write, through a cache or without one. */
export interface Client {
  read(row: number): Promise<number>;
  /** Writes this version, and settles when the write is acknowledged. */
  write(row: number, version: number): Promise<void>;
}

/** A read that returned an older version than allowed. */
export interface StaleRead {
  row: number;
  client: number;
  version: number;
  /** The version that it had to return at least. */
  acknowledgedVersion: number;
  /** How long before the start of the read that version was acknowledged, in milliseconds. */
  acknowledgedForMs: number;
}

/** The progress of the traffic. */
export interface Traffic {
  /** Resolves when so many more reads are complete, and so many more writes. */
  progress(reads: number, writes?: number): Promise<void>;
}

export interface FreshnessOptions {
  clients: readonly Client[];
  /** Number of clients that write. Defaults to all. */
  writers?: number;
  /** Returns whether a client may be used now. Defaults to true. */
  isAvailable?: (client: number) => boolean;
  /** The first version that is written to each row. Defaults to 1. */
  firstVersion?: number;
  rows: number;
  /** The least number of reads and writes in all. */
  reads: number;
  writes: number;
  /** The number of concurrent reads. */
  concurrency: number;
  /** Runs during the traffic, which goes on until it is over. */
  during?: (traffic: Traffic) => Promise<void>;
  /** Returns the pause after a write, in milliseconds. */
  pauseMs(): number;
}

export interface Freshness {
  stale: StaleRead[];
  reads: number;
  writes: number;
}

interface AcknowledgedWrite {
  version: number;
  atMs: number;
}

/**
 * Reads rows through several clients while they are written, one write of a row at a time. Each write is
 * followed by a read through every client. A read must return the last write that was acknowledged before it started,
 * whichever client wrote it.
 */
export async function checkFreshness(options: FreshnessOptions): Promise<Freshness> {
  const { clients, rows, isAvailable = () => true } = options;
  const pickClient = (count: number): number => {
    const available = [...clients.keys()].slice(0, count).filter(isAvailable);
    return available[randomIndex(available.length)] ?? 0;
  };
  /** The last acknowledged write of each row. */
  const acknowledged: (AcknowledgedWrite | undefined)[] = [];
  const result: Freshness = { stale: [], reads: 0, writes: 0 };
  const waiters = new Set<() => void>();
  const progress = (reads: number, writes = 0): Promise<void> => {
    const target = { reads: result.reads + reads, writes: result.writes + writes };
    return new Promise((resolve) => {
      const check = () => {
        if (result.reads < target.reads || result.writes < target.writes) return;
        waiters.delete(check);
        resolve();
      };
      waiters.add(check);
      check();
    });
  };
  const checkWaiters = () => {
    for (const check of waiters) check();
  };
  let isOver = options.during === undefined;
  const during = options.during?.({ progress }).finally(() => {
    isOver = true;
  });
  const isDone = () => isOver && result.reads >= options.reads && result.writes >= options.writes;

  const read = async (row: number, client: number) => {
    const startMs = performance.now();
    const expected = acknowledged[row];
    const version = (await clients[client]?.read(row)) ?? Number.NaN;
    if (expected !== undefined && !(version >= expected.version)) {
      const { version: acknowledgedVersion, atMs } = expected;
      result.stale.push({ row, client, version, acknowledgedVersion, acknowledgedForMs: startMs - atMs });
    }
    result.reads += 1;
    checkWaiters();
  };
  const readRepeatedly = async () => {
    while (!isDone()) {
      await read(randomIndex(rows), pickClient(clients.length));
      // Reads from memory must not keep the event loop from its other work.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const writeRepeatedly = async (row: number) => {
    for (let version = options.firstVersion ?? 1; !isDone(); version += 1) {
      await clients[pickClient(options.writers ?? clients.length)]?.write(row, version);
      acknowledged[row] = { version, atMs: performance.now() };
      result.writes += 1;
      checkWaiters();
      // Through every client, immediately.
      await Promise.all([...clients.keys()].filter(isAvailable).map((client) => read(row, client)));
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs()));
    }
  };
  await Promise.all([
    during,
    ...Array.from({ length: options.concurrency }, readRepeatedly),
    ...Array.from({ length: rows }, (_, row) => writeRepeatedly(row)),
  ]);
  return result;
}

const randomIndex = (count: number): number => Math.floor(Math.random() * count);
