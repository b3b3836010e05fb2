import { testGateway } from "../../../support/payments/gateway-suite.ts";
import { startSandbox } from "../../../support/payments/sandbox-under-test.ts";

testGateway("the sandbox", startSandbox);
