//! Names and forms as the vendor has them: docs/acumatica.md §3.

use acumatica_sim::{BareSet, Config, Release};

use crate::client::{signed_in, small};

#[test]
fn parameters_of_v4_belong_to_a_function_of_the_inquirys_own_name() {
    let (_sim, client) = signed_in(small());
    let metadata = client.gi("$metadata");
    let metadata = metadata.text();
    for wanted in [
        "<Schema Namespace=\"GenericInquiry\"",
        "<Function Name=\"Inventory by Warehouse\"><Parameter Name=\"Warehouse\" Type=\"Edm.String\"/>",
        "<ReturnType Type=\"Collection(GenericInquiry.InventorybyWarehouse)\" Nullable=\"false\"/></Function>",
        "<FunctionImport Name=\"InventorybyWarehouse_WithParameters\" \
         Function=\"GenericInquiry.Inventory by Warehouse\" EntitySet=\"Inventory by Warehouse\"/>",
    ] {
        assert!(metadata.contains(wanted), "{wanted}");
    }
    let rows = client.gi("InventorybyWarehouse_WithParameters(Warehouse='MAIN1')").rows();
    assert!(!rows.is_empty() && rows.iter().all(|r| r["Warehouse"].as_str().unwrap().trim() == "MAIN1"));
    let alias = client.gi("InventorybyWarehouse_WithParameters(Warehouse=@1)?@1='MAIN1'").rows();
    assert_eq!(alias, rows);
    assert_eq!(client.gi("Inventory by Warehouse_WithParameters(Warehouse='MAIN1')").status, 404);
}

#[test]
fn parameters_of_v3_are_query_options_without_quotes() {
    let (_sim, client) = signed_in(Config { release: Release::R2023R2, ..small() });
    let at = |path: &str| client.get(&format!("/odata/Company/{path}"));
    let metadata = at("$metadata");
    let wanted = "<FunctionImport Name=\"InventorybyWarehouse_WithParameters\" \
                  ReturnType=\"Collection(PX.Data.InventorybyWarehouse)\" IsSideEffecting=\"false\" \
                  EntitySet=\"Inventory by Warehouse\"><Parameter Name=\"Warehouse\" Type=\"Edm.String\"/>";
    assert!(metadata.text().contains(wanted), "{wanted}");
    let container = metadata.text().find("<EntityContainer").unwrap();
    assert!(metadata.text().find(wanted).unwrap() > container);
    let rows = at("InventorybyWarehouse_WithParameters?Warehouse=MAIN1&$format=json").rows();
    assert!(!rows.is_empty() && rows.iter().all(|r| r["Warehouse"].as_str().unwrap().trim() == "MAIN1"));
    assert_eq!(at("InventorybyWarehouse_WithParameters(Warehouse='MAIN1')").status, 404);
    let typed = at("OrderLinesTotals_WithParameters?Line=2&Completed=true&OrderDate=1900-01-01").rows();
    assert!(!typed.is_empty() && typed.iter().all(|r| r["LineNbr"] == 2 && r["Completed"] == true));
    assert_eq!(at("OrderLinesTotals_WithParameters?Line=two").status, 400);
}

#[test]
fn the_bare_set_of_an_inquiry_with_parameters_may_show_the_rows_of_its_defaults() {
    let (_sim, client) = signed_in(Config { bare_set: BareSet::Defaults, ..small() });
    let rows = client.gi("Inventory by Warehouse").rows();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|r| r["Warehouse"] == rows[0]["Warehouse"]));
    let (_sim, client) = signed_in(small());
    assert_eq!(client.gi("Inventory by Warehouse").rows().len(), 0);
}

#[test]
fn a_class_has_up_to_three_sets_and_an_alias_may_be_another_classs() {
    let (_sim, client) = signed_in(small());
    let metadata = client.dac("$metadata");
    let metadata = metadata.text();
    for name in ["PX_Objects_SO_SOOrder", "SalesOrder", "SOOrder"] {
        assert!(
            metadata.contains(&format!("<EntitySet Name=\"{name}\" EntityType=\"PX.Objects.SO.SOOrder\""))
        );
        assert_eq!(client.dac(&format!("{name}?$top=2")).rows().len(), 2);
    }
    for (name, class) in [
        ("RecognizedRecord", "RecognizedRecordProjection"),
        ("RecognizedRecord1", "RecognizedRecord"),
        ("PX_CloudServices_DAC_RecognizedRecord", "RecognizedRecord"),
    ] {
        let set = format!("<EntitySet Name=\"{name}\" EntityType=\"PX.CloudServices.DAC.{class}\"");
        assert!(metadata.contains(&set), "{set}");
        let row = &client.dac(&format!("{name}?$top=1")).rows()[0];
        assert_eq!(row["CaseID"].is_string(), class == "RecognizedRecord", "{name}");
    }
    for wanted in [
        "<Schema Namespace=\"PX.Objects.SO\"",
        "<Schema Namespace=\"Default\" xmlns=\"http://docs.oasis-open.org/odata/ns/edm\"><EntityContainer Name=\"Container\">",
        "<EntityType Name=\"Customer\" BaseType=\"PX.Objects.CR.BAccount\"><Property Name=\"CustomerClassID\"",
        "Type=\"Edm.Decimal\" Scale=\"Variable\"",
        "Name=\"tstamp\" Type=\"Edm.Binary\"",
        "<Singleton Name=\"PX_Objects_GL_GLSetup\" Type=\"PX.Objects.GL.GLSetup\"/>",
        "<PropertyValue Property=\"Filterable\" Bool=\"false\"/>",
    ] {
        assert!(metadata.contains(wanted), "{wanted}");
    }
}

#[test]
fn a_setup_class_is_one_object() {
    let (_sim, client) = signed_in(small());
    for name in ["PX_Objects_GL_GLSetup", "GLSetup", "GeneralLedgerPreferences"] {
        let object = client.dac(&format!("{name}?$select=BatchNumberingID")).json();
        assert_eq!(object["BatchNumberingID"], "BATCH");
        assert!(object.get("value").is_none() && object.get("SetupID").is_none());
    }
    assert_eq!(client.dac("GLSetup?$filter=SetupID eq 'GL'").status, 400);
}

#[test]
fn a_derived_class_that_is_not_filterable_refuses_its_own_properties_alone() {
    let (_sim, client) = signed_in(small());
    assert_eq!(client.dac("CRLead?$select=ContactID,EMail&$filter=ContactID gt 5&$top=1").rows().len(), 1);
    assert_eq!(client.dac("CRLead?$select=LeadTitle").status, 400);
    assert_eq!(client.dac("CRLead?$filter=LeadTitle eq 'x'").status, 400);
}

#[test]
fn deleted_records_are_told_by_class() {
    let (sim, client) = signed_in(small());
    let id = client.dac("SOOrder?$top=3&$select=NoteID").rows()[2]["NoteID"].clone();
    assert_eq!(client.dac("SOOrder/px.GetDeletedRecords()").rows().len(), 0);
    sim.control().delete_row("SalesOrder", 2).unwrap();
    let rows = client.dac("SOOrder/px.GetDeletedRecords()?$filter=DeleteDate ge 2024-11-01T00:00:00Z").rows();
    assert_eq!((rows.len(), &rows[0]["RefNoteID"]), (1, &id));
    assert_eq!(rows[0].as_object().unwrap().len(), 2);
    assert_eq!(client.dac("SOOrder/px.GetDeletedRecords()?$filter=DeleteDate gt 2999-01-01").rows().len(), 0);
    assert_eq!(client.dac("SOLine/px.GetDeletedRecords()").status, 400);
}
