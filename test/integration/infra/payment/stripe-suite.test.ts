import { testGateway } from "../../../support/payments/gateway-suite.ts";
import { startStripe } from "../../../support/payments/stripe-under-test.ts";

testGateway("the gateway of Stripe over the fake server", startStripe);
