import { Presets, SingleBar } from "cli-progress";

/** Shows how far a file has been sent. */
export interface Progress {
  report(bytes: number, rows: number): void;
  /** Writes a line, above the bar if there is one. */
  tell(line: string): void;
  /** Ends the bar, so that other lines can follow. */
  stop(): void;
}

const LINE_EVERY_MS = 2_000;

/** A bar on a terminal, a line now and then elsewhere. @param total bytes of the file */
export function showProgress(out: NodeJS.WriteStream, total: number): Progress {
  if (!out.isTTY) return lines(out, total);
  const format = "  {bar} {percentage}%  {rows} rows";
  const bar = new SingleBar(
    { stream: out, format, hideCursor: true, gracefulExit: false },
    Presets.shades_classic,
  );
  bar.start(total, 0, { rows: 0 });
  return {
    report: (bytes, rows) => bar.update(bytes, { rows: rows.toLocaleString("en") }),
    tell(line) {
      out.write(`\r\x1b[K${line}\n`);
      bar.updateETA();
    },
    stop: () => bar.stop(),
  };
}

function lines(out: NodeJS.WritableStream, total: number): Progress {
  let lastMs = performance.now();
  return {
    report(bytes, rows) {
      if (performance.now() - lastMs < LINE_EVERY_MS) return;
      lastMs = performance.now();
      out.write(
        `${rows.toLocaleString("en")} rows sent, ${Math.floor((100 * bytes) / total)} % of the file\n`,
      );
    },
    tell: (line) => void out.write(`${line}\n`),
    stop: () => {},
  };
}
