import { Presets, SingleBar } from "cli-progress";

/** Progress of a command. */
export interface Progress {
  done: number;
  total: number;
  /** The label of the progress, such as `12,000 rows`. */
  label: string;
}

/** Shows progress on a stream: a bar on a terminal, otherwise a line every two seconds. */
export interface ProgressBar {
  update(progress: Progress): void;
  /** Writes a line, above the bar if there is one. */
  writeLine(line: string): void;
  /** Ends the bar, so that other lines can follow. */
  stop(): void;
}

const LINE_INTERVAL_MS = 2_000;

/** Creates a progress bar. It appears with the first update, and starts again when the total changes. */
export function createProgressBar(out: NodeJS.WriteStream): ProgressBar {
  return out.isTTY ? createTerminalBar(out) : createProgressLines(out);
}

function createTerminalBar(out: NodeJS.WriteStream): ProgressBar {
  const format = "  {bar} {percentage}%  {label}";
  const bar = new SingleBar(
    { stream: out, format, hideCursor: true, gracefulExit: false },
    Presets.shades_classic,
  );
  let currentTotal: number | undefined;
  return {
    update({ done, total, label }) {
      if (total !== currentTotal) {
        bar.stop();
        bar.start(total, done, { label });
        currentTotal = total;
      }
      bar.update(done, { label });
    },
    writeLine(line) {
      out.write(`\r\x1b[K${line}\n`);
      bar.updateETA();
    },
    stop: () => bar.stop(),
  };
}

function createProgressLines(out: NodeJS.WritableStream): ProgressBar {
  let lastMs = performance.now();
  return {
    update({ done, total, label }) {
      if (performance.now() - lastMs < LINE_INTERVAL_MS) return;
      lastMs = performance.now();
      out.write(`${label} (${Math.floor((100 * done) / total)} %)\n`);
    },
    writeLine: (line) => void out.write(`${line}\n`),
    stop: () => {},
  };
}
