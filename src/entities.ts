import { BrandEntity } from "./catalog/brand/brand.entity.ts";
import { CategoryEntity } from "./catalog/category/category.entity.ts";
import { ProductImportEntity, ProductImportSkuEntity } from "./catalog/import/import.entity.ts";
import { ProductEntity } from "./catalog/product/product.entity.ts";
import { ProductSalesEntity } from "./catalog/sales/product-sales.entity.ts";
import { SearchWordEntity } from "./catalog/search/search-word.entity.ts";
import { WordRangeEntity } from "./catalog/search/word-range.entity.ts";
import { ProductCountDeltaEntity, ProductCountEntity } from "./catalog/stats/product-count.entity.ts";
import { CustomerEntity } from "./customer/customer.entity.ts";
import {
  AccountEntity,
  ApiKeyEntity,
  SessionEntity,
  SignInFailureEntity,
  SigningKeyEntity,
} from "./identity/identity.entity.ts";
import { AuditEntity } from "./infra/audit/audit.entity.ts";
import { SandboxEventEntity, SandboxPaymentEntity } from "./infra/payment/sandbox/sandbox.entity.ts";
import { IdempotencyEntity } from "./infra/postgres/idempotency/idempotency.entity.ts";
import { SecretEntity } from "./infra/postgres/secret/secret.entity.ts";
import { InventoryEntity, StockFenceEntity, StockMovementEntity } from "./inventory/inventory.entity.ts";
import { LedgerEntryEntity, PaymentDiscrepancyEntity } from "./order/ledger/ledger.entity.ts";
import {
  FulfillmentEntity,
  FulfillmentItemEntity,
  OrderEntity,
  OrderEventEntity,
  OrderExpiryEntity,
  OrderItemEntity,
} from "./order/order.entity.ts";
import { PaymentEntity, PaymentRequestEntity, WebhookEventEntity } from "./order/payment/payment.entity.ts";
import { RefundEntity, RefundLineEntity } from "./order/refund/refund.entity.ts";
import { ShippingZoneCountryEntity, ShippingZoneEntity } from "./order/zone/shipping-zone.entity.ts";
import { TaxZoneEntity } from "./order/zone/tax-zone.entity.ts";
import { ReviewEntity } from "./review/review.entity.ts";
import { PromotionHoldEntity } from "./tracker/hold/promotion-hold.entity.ts";
import { PurchaseEntity } from "./tracker/ingestion/purchase.entity.ts";
import { PurchaseTotalEntity } from "./tracker/ingestion/purchase-total.entity.ts";
import { PromotionEntity } from "./tracker/promotion/promotion.entity.ts";

/** All tables. */
export const entities = [
  CategoryEntity,
  BrandEntity,
  ProductEntity,
  ProductCountEntity,
  ProductCountDeltaEntity,
  SearchWordEntity,
  WordRangeEntity,
  ProductSalesEntity,
  InventoryEntity,
  StockMovementEntity,
  StockFenceEntity,
  ProductImportEntity,
  ProductImportSkuEntity,
  CustomerEntity,
  OrderEntity,
  OrderItemEntity,
  OrderEventEntity,
  OrderExpiryEntity,
  FulfillmentEntity,
  FulfillmentItemEntity,
  PaymentEntity,
  PaymentRequestEntity,
  LedgerEntryEntity,
  RefundEntity,
  RefundLineEntity,
  WebhookEventEntity,
  PaymentDiscrepancyEntity,
  SandboxPaymentEntity,
  SandboxEventEntity,
  ShippingZoneEntity,
  ShippingZoneCountryEntity,
  TaxZoneEntity,
  PromotionEntity,
  PromotionHoldEntity,
  PurchaseEntity,
  PurchaseTotalEntity,
  AccountEntity,
  SessionEntity,
  ApiKeyEntity,
  SigningKeyEntity,
  SignInFailureEntity,
  ReviewEntity,
  AuditEntity,
  IdempotencyEntity,
  SecretEntity,
];
