import { setTimeout as sleep } from "node:timers/promises";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const gc: unknown = runInNewContext("gc");

/** Collects garbage and returns the memory that is still in use by this thread, bytes. */
export async function measureLiveBytes(): Promise<number> {
  for (let round = 0; round < 4; round += 1) {
    if (typeof gc === "function") gc();
    await sleep(5);
  }
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
