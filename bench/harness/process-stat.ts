import { readdir, readFile } from "node:fs/promises";

/** The unit of times in /proc, independent of the kernel's clock: USER_HZ. */
const TICKS_PER_SECOND = 100;

/** Processor times of a process as the kernel reports them (proc_pid_stat(5)), in seconds. */
export interface ProcessStat {
  pid: number;
  parent: number;
  /** Of its threads, in user and kernel mode. */
  busySeconds: number;
  /** Of the child processes that have ended. */
  endedChildrenSeconds: number;
}

/** Reads the state of a process; undefined when it has ended or this is not Linux. */
export async function readProcess(pid: number): Promise<ProcessStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field is a name that can contain any character; the manual numbers fields from 1.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  return {
    pid,
    parent: field(4),
    busySeconds: (field(14) + field(15)) / TICKS_PER_SECOND,
    endedChildrenSeconds: (field(16) + field(17)) / TICKS_PER_SECOND,
  };
}

/** Reads all processes; none when this is not Linux. */
export async function readProcesses(): Promise<ProcessStat[]> {
  const names = await readdir("/proc").catch(() => []);
  const stats = await Promise.all(names.map(Number).filter(Number.isInteger).map(readProcess));
  return stats.filter((stat) => stat !== undefined);
}
