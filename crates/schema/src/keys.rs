//! What identifies the records of an entity: definitions of endpoints do not tell.

use acumatica_client::catalog::{Member, MemberType};

/// The key of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityKey {
    /// Remote names of the fields.
    pub fields: &'static [&'static str],
    /// Whether the order is that of the URL for sure.
    pub order_known: bool,
}

/// Keys in the order of the URL.
#[rustfmt::skip]
const KEYS: &[(&str, &[&str])] = &[
    ("Account", &["AccountCD"]),
    ("AccountGroup", &["AccountGroupID"]),
    ("Activity", &["NoteID"]),
    ("AmazonStore", &["BindingName"]),
    ("AttributeDefinition", &["AttributeID"]),
    ("Bill", &["Type", "ReferenceNbr"]),
    ("BusinessAccount", &["BusinessAccountID"]),
    ("Carrier", &["CarrierID"]),
    ("Case", &["CaseID"]),
    ("CashSale", &["Type", "ReferenceNbr"]),
    ("ChangeOrder", &["RefNbr"]),
    ("ChangeOrderClass", &["ClassID"]),
    ("Check", &["Type", "ReferenceNbr"]),
    ("Contact", &["ContactID"]),
    ("CostCode", &["CostCodeID"]),
    ("Currency", &["CurrencyID"]),
    ("Customer", &["CustomerID"]),
    ("CustomerClass", &["ClassID"]),
    ("CustomerPriceClass", &["PriceClassID"]),
    ("DeductionBenefitCode", &["DeductionBenefitCodeID"]),
    ("DiscountCode", &["DiscountCodeID"]),
    ("EarningTypeCode", &["EarningTypeCodeID"]),
    ("Email", &["NoteID"]),
    ("Employee", &["EmployeeID"]),
    ("EmployeePayrollClass", &["EmployeePayrollClassID"]),
    ("EmployeePayrollSettings", &["EmployeeID"]),
    ("Event", &["NoteID"]),
    ("ExpenseClaim", &["RefNbr"]),
    ("ExpenseReceipt", &["ReceiptID"]),
    ("FOBPoint", &["FOBPointID"]),
    ("FinancialPeriod", &["FinancialYear"]),
    ("InventoryAdjustment", &["ReferenceNbr"]),
    ("InventoryIssue", &["ReferenceNbr"]),
    ("InventoryReceipt", &["ReferenceNbr"]),
    ("Invoice", &["Type", "ReferenceNbr"]),
    ("ItemClass", &["ClassID"]),
    ("ItemSalesCategory", &["CategoryID"]),
    ("JournalTransaction", &["Module", "BatchNbr"]),
    ("KitAssembly", &["Type", "ReferenceNbr"]),
    ("Lead", &["LeadID"]),
    ("Ledger", &["LedgerID"]),
    ("LotSerialClass", &["ClassID"]),
    ("NonStockItem", &["InventoryID"]),
    ("Opportunity", &["OpportunityID"]),
    ("PTOBank", &["PTOBankID"]),
    ("PayGroup", &["PayGroupID"]),
    ("Payment", &["Type", "ReferenceNbr"]),
    ("PaymentMethod", &["PaymentMethodID"]),
    ("PayrollBatch", &["BatchID"]),
    ("PayrollUnionLocal", &["PayrollUnionLocalID"]),
    ("PhysicalInventoryCount", &["ReferenceNbr"]),
    ("PhysicalInventoryReview", &["ReferenceNbr"]),
    ("ProFormaInvoice", &["RefNbr"]),
    ("Project", &["ProjectID"]),
    ("ProjectTemplate", &["ProjectTemplateID"]),
    ("ProjectTransaction", &["Module", "ReferenceNbr"]),
    ("PurchaseOrder", &["Type", "OrderNbr"]),
    ("PurchaseReceipt", &["Type", "ReceiptNbr"]),
    ("SalesInvoice", &["Type", "ReferenceNbr"]),
    ("SalesOrder", &["OrderType", "OrderNbr"]),
    ("SalesPriceWorksheet", &["ReferenceNbr"]),
    ("Salesperson", &["SalespersonID"]),
    ("ShipVia", &["CarrierID"]),
    ("Shipment", &["ShipmentNbr"]),
    ("ShippingBox", &["BoxID"]),
    ("ShippingTerm", &["TermID"]),
    ("ShippingZones", &["ZoneID"]),
    ("StockItem", &["InventoryID"]),
    ("Subaccount", &["SubaccountCD"]),
    ("Task", &["NoteID"]),
    ("Tax", &["TaxID"]),
    ("TaxCategory", &["TaxCategoryID"]),
    ("TaxReportingSettings", &["TaxAgency"]),
    ("TaxZone", &["TaxZoneID"]),
    ("TemplateItems", &["InventoryID"]),
    ("TimeEntry", &["TimeEntryID"]),
    ("TransferOrder", &["ReferenceNbr"]),
    ("UnionLocal", &["UnionLocalID"]),
    ("Vendor", &["VendorID"]),
    ("VendorClass", &["ClassID"]),
    ("VendorPriceWorksheet", &["ReferenceNbr"]),
    ("Warehouse", &["WarehouseID"]),
    ("WorkCalendar", &["WorkCalendarID"]),
    ("WorkClassCompensationCode", &["WCCCode"]),
    ("WorkLocation", &["WorkLocationID"]),
];

/// Keys whose order nobody has seen: what looks like a type goes first.
#[rustfmt::skip]
const UNORDERED: &[(&str, &[&str])] = &[
    ("Appointment", &["ServiceOrderType", "AppointmentNbr"]),
    ("BigCommerceStores", &["Connector", "StoreName"]),
    ("CompanyFinancialPeriod", &["Company", "FinancialYear"]),
    ("CustomerLocation", &["Customer", "LocationID"]),
    ("CustomerPaymentMethod", &["CustomerID", "InstanceID"]),
    ("Discount", &["DiscountCode", "Sequence"]),
    ("ItemWarehouse", &["InventoryID", "WarehouseID"]),
    ("KitSpecification", &["KitInventoryID", "RevisionID"]),
    ("PayPeriod", &["PayGroup", "Year"]),
    ("ProjectBudget", &["AccountGroup", "CostCode", "InventoryID", "ProjectID", "ProjectTaskID"]),
    ("ProjectTask", &["ProjectID", "ProjectTaskID"]),
    ("ProjectTemplateTask", &["ProjectTemplateID", "ProjectTemplateTaskID"]),
    ("ServiceOrder", &["ServiceOrderType", "ServiceOrderNbr"]),
    ("ShopifyStore", &["Connector", "StoreName"]),
];

/// Fields that tell when a record was last changed, the best first.
const LAST_MODIFIED: [&str; 2] = ["LastModified", "LastModifiedDateTime"];

/// The key of an entity, if it is known and the definition has all fields of it.
pub fn key(entity: &str, members: &[Member]) -> Option<EntityKey> {
    let (fields, order_known) = find(entity)?;
    fields.iter().all(|field| has_value(members, field)).then_some(EntityKey { fields, order_known })
}

/// The fields of the key of an entity, if it is known.
pub fn key_fields(entity: &str) -> Option<&'static [&'static str]> {
    find(entity).map(|(fields, _)| fields)
}

/// The fields of the key of an entity, and whether their order is known.
fn find(entity: &str) -> Option<(&'static [&'static str], bool)> {
    let among = |keys: &'static [(&str, &'static [&'static str])]| {
        keys.iter().find(|(name, _)| *name == entity).map(|(_, fields)| *fields)
    };
    match among(KEYS) {
        Some(fields) => Some((fields, true)),
        None => Some((among(UNORDERED)?, false)),
    }
}

/// The field that tells when a record was last changed.
pub fn last_modified(members: &[Member]) -> Option<&'static str> {
    LAST_MODIFIED.into_iter().find(|field| has_value(members, field))
}

fn has_value(members: &[Member], field: &str) -> bool {
    members.iter().any(|member| member.name == field && matches!(member.ty, MemberType::Value(_)))
}

#[cfg(test)]
mod tests {
    use acumatica_client::catalog::FieldType;

    use super::*;

    fn members(names: &[&str]) -> Vec<Member> {
        let text = MemberType::Value(FieldType::Text);
        names.iter().map(|name| Member { name: (*name).into(), ty: text.clone() }).collect()
    }

    #[test]
    fn keys_need_all_their_fields() {
        let order = key("SalesOrder", &members(&["OrderNbr", "OrderType", "Status"])).unwrap();
        assert_eq!((order.fields, order.order_known), (&["OrderType", "OrderNbr"][..], true));
        assert_eq!(key("SalesOrder", &members(&["OrderNbr"])), None);
        let linked = Member { name: "OrderType".into(), ty: MemberType::Linked("T".into()) };
        assert_eq!(key("SalesOrder", &[members(&["OrderNbr"]), vec![linked]].concat()), None);
        assert!(!key("ItemWarehouse", &members(&["WarehouseID", "InventoryID"])).unwrap().order_known);
        assert_eq!(key("Unheard", &members(&["ID"])), None);
    }

    #[test]
    fn the_better_time_of_change_is_chosen() {
        assert_eq!(last_modified(&members(&["LastModifiedDateTime", "LastModified"])), Some("LastModified"));
        assert_eq!(last_modified(&members(&["LastModifiedDateTime"])), Some("LastModifiedDateTime"));
        assert_eq!(last_modified(&members(&["LastModifiedDate"])), None);
    }

    /// The facts are not part of the repository.
    #[test]
    fn the_table_says_what_the_facts_say() {
        let Ok(facts) = std::fs::read_to_string("/work/shared/fixtures/entities.tsv") else {
            println!("skipped: no facts here");
            return;
        };
        let mut seen = 0;
        for line in facts.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [entity, _, keys, ordered, modified] = columns[..] else { panic!("{line}") };
            let list =
                |text: &str| text.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            let (mut keys, ordered, modified) = (list(keys), list(ordered), list(modified));
            let fields: Vec<&str> = keys.iter().map(String::as_str).collect();
            let known = key(entity, &members(&fields));
            assert_eq!(known.is_some(), !keys.is_empty(), "{entity}");
            if let Some(known) = known {
                seen += 1;
                assert_eq!(known.order_known, keys.len() == 1 || !ordered.is_empty(), "{entity}");
                if !ordered.is_empty() {
                    assert_eq!(known.fields, ordered, "{entity}");
                }
                let mut fields = known.fields.to_vec();
                fields.sort_unstable();
                keys.sort_unstable();
                assert_eq!(fields, keys, "{entity}");
            }
            let names: Vec<&str> = modified.iter().map(String::as_str).collect();
            assert_eq!(last_modified(&members(&names)), names.first().copied(), "{entity}");
        }
        assert_eq!(seen, KEYS.len() + UNORDERED.len());
    }
}
