// npm run conformance [-- <pattern>...]: runs connectconformance, all of it or the cases that match a pattern, such as
// "Errors/**". Prints the failures and a table of the results.
import { isSuiteInstalled, resultColumns, resultRows, runSuite } from "./run-suite.ts";

if (isSuiteInstalled) {
  const results = await runSuite(process.argv.slice(2));
  console.log(results.report.trim());
  for (const row of [resultColumns, ...resultRows(results)]) {
    console.log(
      row
        .map((cell) => cell.padEnd(12))
        .join("")
        .trimEnd(),
    );
  }
  if (results.failed.length > 0) process.exitCode = 1;
} else {
  console.error(
    "connectconformance is not on the PATH. Install it: go install connectrpc.com/conformance/cmd/connectconformance@v1.0.5",
  );
  process.exitCode = 1;
}
