import { describe } from "vitest";
import { testAuthorizations } from "./authorization-tests.ts";
import { testCaptures } from "./capture-tests.ts";
import { createGatewayFixture, type StartGateway } from "./gateway-under-test.ts";
import { testRefunds } from "./refund-tests.ts";

/** Runs the same tests over any gateway. */
export function testGateway(name: string, start: StartGateway): void {
  describe(name, () => {
    const fixture = createGatewayFixture(start);
    testAuthorizations(fixture);
    testCaptures(fixture);
    testRefunds(fixture);
  });
}
