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
  rows: number;
  /** The least number of reads and writes in all. */
  reads: number;
  writes: number;
  /** The number of concurrent reads. */
  concurrency: number;
  /** Runs during the traffic, which goes on until it is over. */
  during?: (traffic: Traffic) => Promise<void>;
  /** How long after its acknowledgement a write may be invisible to other clients, in milliseconds. */
  delayMs: number;
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
  client: number;
  atMs: number;
}

/**
 * Reads rows through several clients while they are written, one write of a row at a time. A read must return the
 * last write that was acknowledged before it started, immediately if the same client wrote it, and after `delayMs` if
 * another one did.
 */
export async function checkFreshness(options: FreshnessOptions): Promise<Freshness> {
  const { clients, rows, delayMs } = options;
  const acknowledged = Array.from({ length: rows }, (): AcknowledgedWrite[] => []);
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

  /** The last write of the row that a client must see at this time. */
  const visibleWrite = (row: number, client: number, nowMs: number): AcknowledgedWrite | undefined =>
    acknowledged[row]?.findLast((write) => write.atMs <= (write.client === client ? nowMs : nowMs - delayMs));

  const read = async () => {
    while (!isDone()) {
      const row = randomIndex(rows);
      const client = randomIndex(clients.length);
      const startMs = performance.now();
      const expected = visibleWrite(row, client, startMs);
      const version = (await clients[client]?.read(row)) ?? Number.NaN;
      if (expected !== undefined && !(version >= expected.version)) {
        result.stale.push({
          row,
          client,
          version,
          acknowledgedVersion: expected.version,
          acknowledgedForMs: startMs - expected.atMs,
        });
      }
      result.reads += 1;
      checkWaiters();
      // Reads from memory must not keep the event loop from its other work.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const write = async (row: number) => {
    for (let version = 1; !isDone(); version += 1) {
      const client = randomIndex(options.writers ?? clients.length);
      await clients[client]?.write(row, version);
      acknowledged[row]?.push({ version, client, atMs: performance.now() });
      result.writes += 1;
      checkWaiters();
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs()));
    }
  };
  await Promise.all([
    during,
    ...Array.from({ length: options.concurrency }, read),
    ...Array.from({ length: rows }, (_, row) => write(row)),
  ]);
  return result;
}

const randomIndex = (count: number): number => Math.floor(Math.random() * count);
