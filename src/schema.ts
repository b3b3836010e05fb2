import {
  BrandEntity,
  CategoryEntity,
  ProductCountDeltaEntity,
  ProductCountEntity,
  ProductEntity,
  ProductImportEntity,
  ProductImportSkuEntity,
  SearchWordEntity,
  StockMovementEntity,
} from "./catalog/catalog.entity.ts";
import { CustomerEntity } from "./customer/customer.entity.ts";
import { IdempotencyEntity } from "./infra/idempotency.entity.ts";
import { SecretEntity } from "./infra/secret.entity.ts";
import { OrderEntity, OrderItemEntity } from "./order/order.entity.ts";
import { PromotionEntity, PurchaseEntity, PurchaseTotalEntity } from "./tracker/tracker.entity.ts";

/** All tables. */
export const entities = [
  CategoryEntity,
  BrandEntity,
  ProductEntity,
  ProductCountEntity,
  ProductCountDeltaEntity,
  SearchWordEntity,
  StockMovementEntity,
  ProductImportEntity,
  ProductImportSkuEntity,
  CustomerEntity,
  OrderEntity,
  OrderItemEntity,
  PromotionEntity,
  PurchaseEntity,
  PurchaseTotalEntity,
  IdempotencyEntity,
  SecretEntity,
];
