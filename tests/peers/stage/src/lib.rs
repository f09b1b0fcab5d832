//! The peers' work as a Bulkhead stage: read JSON orders, drop those with `qty` 0, add total and VAT, write them out.
//!
//! What it promises: the same values, byte for byte, as `tests/peers/native` writes, under the same keys.
//! Must never: do less than its peers. What cannot be read is a dead letter here, where they drop it.

use bulkhead_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order<'a> {
    id: u64,
    customer: &'a str,
    sku: &'a str,
    qty: u32,
    price: f64,
    country: &'a str,
}

#[derive(Serialize)]
struct Priced<'a> {
    id: u64,
    customer: &'a str,
    sku: &'a str,
    total: f64,
    vat: f64,
    country: &'a str,
}

/// The output, looked up once.
#[derive(Debug)]
pub struct Ports {
    priced: Port,
}

fn setup(config: &Config) -> Result<Ports, InitError> {
    Ok(Ports { priced: config.output("priced")? })
}

/// Prices one order.
#[stage(init = setup)]
pub fn price(ports: &mut Ports, record: Record, out: &mut Outputs) -> StageResult {
    let order: Order = record.json()?;
    if order.qty == 0 {
        return Ok(());
    }
    let total = f64::from(order.qty) * order.price;
    let rate = match order.country {
        "DE" => 0.19,
        "FR" => 0.20,
        _ => 0.0,
    };
    let Order { id, customer, sku, country, .. } = order;
    out.to(ports.priced).json(&Priced { id, customer, sku, total, vat: rate * total, country })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_sdk::testing::{Case, Input};

    #[test]
    fn orders_are_priced_empty_ones_dropped_broken_ones_refused() {
        let orders = [
            r#"{"id":1,"customer":"c7","sku":"s9","qty":3,"price":9.99,"country":"DE"}"#,
            r#"{"id":2,"customer":"c8","sku":"s9","qty":0,"price":9.99,"country":"FR"}"#,
            r#"{"id":3,"customer":"c8"#,
        ];
        let report =
            Case::new().outputs(["priced"]).records(orders.map(|order| Input::new(order).key("k"))).run::<price>();
        assert_eq!(
            report.texts("priced"),
            [r#"{"id":1,"customer":"c7","sku":"s9","total":29.97,"vat":5.6943,"country":"DE"}"#]
        );
        assert_eq!(report.outputs[0].key.as_deref(), Some(b"k".as_slice()));
        assert_eq!(report.rejected.iter().map(|rejected| rejected.record).collect::<Vec<_>>(), [2]);
    }
}
