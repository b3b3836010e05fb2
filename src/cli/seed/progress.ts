import { Presets, SingleBar } from "cli-progress";
import type { SeedProgress } from "./seed-shop.ts";

const LINE_EVERY_MS = 2_000;

/** Shows how far the seed has come: a bar on a terminal, a line now and then elsewhere. */
export function showProgress(out: NodeJS.WriteStream): {
  report(progress: SeedProgress): void;
  /** Ends the bar, so that other lines can follow. */
  stop(): void;
} {
  if (!out.isTTY) return { report: lines(out), stop: () => {} };
  const bar = new SingleBar(
    {
      stream: out,
      format: "  {part} {bar} {percentage}%  {value}/{total}",
      hideCursor: true,
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  let current: string | undefined;
  return {
    report({ part, done, total }) {
      if (part !== current) {
        bar.stop();
        bar.start(total, 0, { part: part.padEnd("customers".length) });
        current = part;
      }
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}

function lines(out: NodeJS.WritableStream): (progress: SeedProgress) => void {
  let lastMs = performance.now();
  return ({ part, done, total }) => {
    if (performance.now() - lastMs < LINE_EVERY_MS) return;
    lastMs = performance.now();
    out.write(`${part}: ${done} of ${total}\n`);
  };
}
