/** A category of the seeded shop, with the values that its products are generated from. */
export interface SeedCategory {
  slug: string;
  name: string;
  /** Slug of the parent category; undefined for a root. */
  parent?: string;
  brands: readonly string[];
  /** Nouns, with the lowest and the highest price in euros. */
  productKinds: readonly (readonly [noun: string, minPrice: number, maxPrice: number])[];
  materials: readonly string[];
  /** An attribute of its products, with its values. */
  variant: readonly [name: string, values: readonly string[]];
}

const ELECTRONICS_BRANDS = ["Voltera", "Kestrane", "Lumaro", "Nordbyte", "Arcvale"];
const HOME_BRANDS = ["Hearth & Oak", "Brindle", "Casa Lindén", "Tallgrass", "Fjordholm"];
const FASHION_BRANDS = ["Marlowe", "Sorrelle", "Atelier Vey", "Northpine", "Calder & Wren"];
const SPORTS_BRANDS = ["Craghold", "Swiftwater", "Peltane", "Summit Nine", "Tarnwick"];

/** All 15 categories, parents first, with 20 brands. */
export const SEED_CATEGORIES: readonly SeedCategory[] = [
  {
    slug: "electronics",
    name: "Electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["USB-C Charger", 12, 60],
      ["Power Bank", 19, 90],
      ["Charging Cable", 6, 25],
      ["Power Strip", 12, 45],
    ],
    materials: ["recycled plastic", "braided nylon", "aluminium"],
    variant: ["power", ["20 W", "45 W", "65 W", "100 W"]],
  },
  {
    slug: "phones",
    name: "Phones",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Smartphone", 179, 1_199],
      ["Senior Phone", 39, 129],
      ["Rugged Phone", 199, 699],
    ],
    materials: ["glass", "aluminium", "ceramic"],
    variant: ["storage", ["64 GB", "128 GB", "256 GB", "512 GB"]],
  },
  {
    slug: "laptops",
    name: "Laptops",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Ultrabook", 699, 2_199],
      ["Gaming Laptop", 899, 2_999],
      ["Chromebook", 199, 599],
      ["Laptop", 399, 1_299],
    ],
    materials: ["aluminium", "magnesium", "carbon fibre"],
    variant: ["memory", ["8 GB", "16 GB", "32 GB", "64 GB"]],
  },
  {
    slug: "audio",
    name: "Audio",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Wireless Headphones", 49, 399],
      ["Earbuds", 19, 249],
      ["Bluetooth Speaker", 25, 299],
      ["Turntable", 99, 649],
    ],
    materials: ["recycled plastic", "leatherette", "walnut"],
    variant: ["battery", ["8 h", "20 h", "30 h", "40 h"]],
  },
  {
    slug: "cameras",
    name: "Cameras",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Mirrorless Camera", 499, 2_799],
      ["Action Camera", 129, 499],
      ["Zoom Lens", 199, 1_899],
      ["Tripod", 25, 249],
    ],
    materials: ["magnesium", "aluminium", "carbon fibre"],
    variant: ["resolution", ["12 MP", "24 MP", "33 MP", "45 MP"]],
  },
  {
    slug: "home",
    name: "Home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Storage Basket", 9, 49],
      ["Wool Blanket", 29, 149],
      ["Cushion", 12, 59],
      ["Scented Candle", 8, 39],
    ],
    materials: ["cotton", "linen", "wool", "seagrass"],
    variant: ["size", ["small", "medium", "large"]],
  },
  {
    slug: "kitchen",
    name: "Kitchen",
    parent: "home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Chef's Knife", 29, 199],
      ["Frying Pan", 19, 129],
      ["Espresso Machine", 129, 899],
      ["Kettle", 24, 119],
    ],
    materials: ["stainless steel", "cast iron", "copper", "ceramic"],
    variant: ["size", ["20 cm", "24 cm", "28 cm"]],
  },
  {
    slug: "furniture",
    name: "Furniture",
    parent: "home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Armchair", 149, 899],
      ["Bookcase", 79, 499],
      ["Dining Table", 199, 1_499],
      ["Desk", 99, 799],
    ],
    materials: ["oak", "beech", "walnut", "bamboo", "steel"],
    variant: ["width", ["60 cm", "80 cm", "120 cm", "160 cm"]],
  },
  {
    slug: "lighting",
    name: "Lighting",
    parent: "home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Desk Lamp", 19, 149],
      ["Floor Lamp", 49, 299],
      ["Pendant Light", 39, 349],
      ["LED Bulb", 4, 19],
    ],
    materials: ["brass", "glass", "paper", "steel"],
    variant: ["light", ["2700 K", "3000 K", "4000 K"]],
  },
  {
    slug: "fashion",
    name: "Fashion",
    brands: FASHION_BRANDS,
    productKinds: [
      ["Scarf", 15, 99],
      ["Leather Belt", 19, 89],
      ["Wallet", 25, 119],
      ["Beanie", 12, 45],
    ],
    materials: ["merino wool", "leather", "cotton", "cashmere"],
    variant: ["size", ["S", "M", "L", "one size"]],
  },
  {
    slug: "shoes",
    name: "Shoes",
    parent: "fashion",
    brands: FASHION_BRANDS,
    productKinds: [
      ["Running Shoes", 59, 199],
      ["Ankle Boots", 79, 289],
      ["Sneakers", 49, 159],
      ["Sandals", 25, 109],
    ],
    materials: ["leather", "suede", "canvas", "recycled mesh"],
    variant: ["size", ["37", "39", "41", "43", "45"]],
  },
  {
    slug: "watches",
    name: "Watches",
    parent: "fashion",
    brands: FASHION_BRANDS,
    productKinds: [
      ["Automatic Watch", 199, 1_899],
      ["Chronograph", 129, 899],
      ["Field Watch", 79, 349],
      ["Watch Strap", 15, 79],
    ],
    materials: ["steel", "titanium", "bronze"],
    variant: ["case", ["36 mm", "38 mm", "40 mm", "42 mm"]],
  },
  {
    slug: "sports",
    name: "Sports",
    brands: SPORTS_BRANDS,
    productKinds: [
      ["Yoga Mat", 19, 99],
      ["Water Bottle", 9, 39],
      ["Kettlebell", 19, 119],
      ["Gym Bag", 25, 129],
    ],
    materials: ["cork", "stainless steel", "cast iron", "recycled nylon"],
    variant: ["weight", ["0.5 kg", "1 kg", "4 kg", "8 kg"]],
  },
  {
    slug: "cycling",
    name: "Cycling",
    parent: "sports",
    brands: SPORTS_BRANDS,
    productKinds: [
      ["Road Bike", 599, 3_499],
      ["City Bike", 349, 1_499],
      ["Bike Helmet", 29, 199],
      ["Bike Light", 12, 89],
    ],
    materials: ["aluminium", "carbon fibre", "steel"],
    variant: ["size", ["S", "M", "L", "XL"]],
  },
  {
    slug: "camping",
    name: "Camping",
    parent: "sports",
    brands: SPORTS_BRANDS,
    productKinds: [
      ["Tent", 89, 699],
      ["Sleeping Bag", 39, 349],
      ["Camping Stove", 25, 149],
      ["Backpack", 45, 289],
    ],
    materials: ["ripstop nylon", "polyester", "titanium", "down"],
    variant: ["capacity", ["1 person", "2 persons", "4 persons"]],
  },
];
