mod limits;

use std::io;

use super::*;
use crate::catalog::{InquiryParameter, Property, Relation};

const DOCUMENT: &str = r#"<?xml version="1.0"?><edmx:Edmx xmlns:edmx="e" Version="4.0"><edmx:DataServices>
    <Schema Namespace="PX.Data"><EntityType Name="ARAging"><Key><PropertyRef Name="Customer"/>
    <PropertyRef Name="RefNbr_2"/></Key><Property Name="Customer" Type="Edm.String"/></EntityType>
    <EntityType Name="Bare"><Property Name="X" Type="Edm.String"/></EntityType>
    <Function Name="A&amp;B &lt;odd&gt;"/><Function Name="Bare_WithParameters"><Parameter Name="bindingParameter"
    Type="PX.Data.Bare"/><Parameter Name="Site" Type="Edm.String"/></Function><EntityContainer Name="Default">
    <EntitySet Name="AR-Aging by Customer" EntityType="PX.Data.ARAging"/>
    <EntitySet Name="Bare" EntityType="PX.Data.Bare"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"#;

fn read(document: impl AsRef<[u8]>) -> Result<Model> {
    read_some(document, &|_| true)
}

fn read_some(document: impl AsRef<[u8]>, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Model> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Pieces of 7 bytes, so that everything is cut somewhere.
    let pieces = tokio::io::BufReader::with_capacity(7, document.as_ref());
    runtime.block_on(parse(pieces, wanted))
}

/// A document of the types in one schema and the sets in another, as DAC has it.
fn document(types: &str, sets: &str) -> String {
    format!(
        r#"<Edmx><DataServices><Schema Namespace="NS">{types}</Schema><Schema Namespace="Default" Alias="D">
        <EntityContainer Name="C">{sets}</EntityContainer></Schema></DataServices></Edmx>"#
    )
}

fn model(types: &str, sets: &str) -> Model {
    read(document(types, sets)).unwrap()
}

fn fails(document: impl AsRef<[u8]>) -> String {
    let error = read(document).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.hint.is_some());
    error.detail.unwrap()
}

const TYPE: &str = r#"<EntityType Name="T"><Key><PropertyRef Name="K"/></Key><Property Name="K" Type="Edm.Int32"
    Nullable="false"/></EntityType>"#;
const SET: &str = r#"<EntitySet Name="S" EntityType="NS.T"/>"#;

fn names<'a>(properties: impl IntoIterator<Item = &'a Property>) -> Vec<&'a str> {
    properties.into_iter().map(|property| &*property.name).collect()
}

#[test]
fn the_set_keeps_its_spaces_and_the_type_drops_them() {
    let model = read(DOCUMENT).unwrap();
    assert_eq!(find(&model, "AR-Aging by Customer").unwrap().key, ["Customer", "RefNbr_2"]);
    assert_eq!(find(&model, "ar-aging BY customer"), find(&model, "AR-Aging by Customer"));
}

#[test]
fn a_set_with_parameters_has_a_function_beside_it() {
    let model = read(DOCUMENT).unwrap();
    let parameter = InquiryParameter { name: "Site".into(), ty: FieldType::Text, required: true };
    assert_eq!(find(&model, "Bare").unwrap().parameters, [parameter]);
    assert!(find(&model, "AR-Aging by Customer").unwrap().parameters.is_empty());
}

#[test]
fn no_key_or_no_set_is_an_empty_key() {
    let model = read(DOCUMENT).unwrap();
    assert!(find(&model, "Bare").unwrap().key.is_empty());
    assert_eq!(find(&model, "Nothing"), None);
    assert_eq!(model.faults, [""; 0]);
}

#[test]
fn what_is_no_document_is_an_error() {
    fails("");
    fails("{\"error\":1}");
    assert!(fails("<!DOCTYPE html><html><body>Sign in</body></html>").contains("<html>"));
    for end in 0..DOCUMENT.len() {
        fails(&DOCUMENT[..end]);
    }
    assert!(read(format!("\u{feff}{DOCUMENT}")).is_ok());
    let latin = DOCUMENT.replace("1.0\"", "1.0\" encoding=\"ISO-8859-1\"");
    assert!(fails(latin).contains("ISO-8859-1"));
    fails(DOCUMENT.bytes().map(|byte| if byte == b'A' { 0xC4 } else { byte }).collect::<Vec<_>>());
    for bom in ["", "\u{feff}"] {
        let text = format!("{bom}{DOCUMENT}");
        fails(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
        fails(text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn the_connection_says_why_the_document_ends() {
    use futures_util::{StreamExt, stream};
    let lost = Error::new(ErrorKind::ConnectionLost, "lost");
    let pieces = stream::iter([Ok(&DOCUMENT.as_bytes()[..100]), Err(io::Error::other(lost))]);
    let reader = tokio_util::io::StreamReader::new(pieces.boxed());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(parse(reader, &|_| true)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ConnectionLost);
}

#[test]
fn types_of_properties() {
    let types = [
        ("Edm.String", FieldType::Text),
        ("Edm.Boolean", FieldType::Bool),
        ("Edm.Byte", FieldType::Int2),
        ("Edm.SByte", FieldType::Int2),
        ("Edm.Int16", FieldType::Int2),
        ("Edm.Int32", FieldType::Int4),
        ("Edm.Int64", FieldType::Int8),
        ("Int64", FieldType::Int8),
        ("Edm.Single", FieldType::Float4),
        ("Edm.Double", FieldType::Float8),
        ("Edm.Decimal", FieldType::Numeric),
        ("Edm.Date", FieldType::Date),
        ("Edm.DateTime", FieldType::TimestampTz),
        ("Edm.DateTimeOffset", FieldType::TimestampTz),
        ("Edm.Time", FieldType::Interval),
        ("Edm.TimeOfDay", FieldType::Time),
        ("Edm.Duration", FieldType::Interval),
        ("Edm.Binary", FieldType::Bytes),
        ("Edm.Stream", FieldType::Text),
        ("Edm.Guid", FieldType::Uuid),
        ("Edm.GeographyPoint", FieldType::Json),
        ("Collection(Edm.String)", FieldType::Json),
        ("Collection(NS.Color)", FieldType::Json),
        ("NS.Money", FieldType::Json),
        ("NS.Color", FieldType::Text),
        ("NS.Quantity", FieldType::Numeric),
        ("Edm.New", FieldType::Text),
        ("Else.Thing", FieldType::Json),
        ("", FieldType::Text),
    ];
    let properties: String = types
        .iter()
        .enumerate()
        .map(|(at, (ty, _))| format!("<Property Name=\"P{at}\" Type=\"{ty}\" Scale=\"Variable\"/>"))
        .collect();
    let declared = r#"<ComplexType Name="Money"><Property Name="X" Type="Edm.Int32"/></ComplexType>
        <EnumType Name="Color"><Member Name="Red"/></EnumType>
        <TypeDefinition Name="Quantity" UnderlyingType="Edm.Decimal"/>"#;
    let model = model(&format!("<EntityType Name=\"T\">{properties}</EntityType>{declared}"), SET);
    let [set] = &model.sets[..] else { panic!() };
    for ((ty, expected), property) in types.iter().zip(&set.properties) {
        assert_eq!(property.ty, *expected, "{ty}");
        assert!(property.nullable && property.filterable);
    }
    assert_eq!(model.faults.len(), 3);
    assert_eq!(model.faults[0], "the type \"Edm.New\" of \"P26\" in \"S\" is not known: taken as text");
}

#[test]
fn what_is_inherited() {
    let types = r#"<EntityType Name="T" BaseType="NS.B"><Property Name="X" Type="Edm.Int32"/>
        <Property Name="K" Type="Edm.String"/></EntityType>
        <EntityType Name="B" BaseType="NS.C"><Key><PropertyRef Name="K"/></Key><Property Name="K" Type="Edm.Guid"
        Nullable="false"/></EntityType>
        <EntityType Name="C" BaseType="NS.T"><Property Name="C" Type="Edm.Int32"/></EntityType>"#;
    let model = model(types, SET);
    let set = &model.sets[0];
    assert_eq!(set.key, ["K"]);
    assert_eq!(names(&set.properties), ["C", "K", "X"]);
    assert_eq!((set.properties[1].ty, set.properties[1].nullable), (FieldType::Uuid, false));
}

#[test]
fn two_names_of_a_set_are_one() {
    let types = r#"<EntityType Name="T"/><EntityType Name="U"/><EntityType Name="V"/>"#;
    let sets = r#"<EntitySet Name="SOOrder" EntityType="NS.T"/><EntitySet Name="PX_SO_Line" EntityType="NS.U"/>
        <EntitySet Name="PX_AR_Line" EntityType="NS.U"/><EntitySet Name="PX_Objects_SO_SOOrder" EntityType="NS.T"/>
        <EntitySet Name="PX_AR_Invoice" EntityType="NS.V"/><EntitySet Name="AR Aging_2" EntityType="NS.V"/>
        <EntitySet Name="SOOrder" EntityType="NS.V"/>"#;
    let model = model(types, sets);
    let all: Vec<(&str, Vec<&str>)> =
        model.sets.iter().map(|set| (&*set.name, set.aliases.iter().map(String::as_str).collect())).collect();
    let expected = [
        ("PX_Objects_SO_SOOrder", vec!["SOOrder"]),
        ("PX_SO_Line", vec![]),
        ("PX_AR_Line", vec![]),
        ("PX_AR_Invoice", vec!["Invoice"]),
        ("AR Aging_2", vec![]),
    ];
    assert_eq!(all, expected);
    assert_eq!(find(&model, "invoice").unwrap().name, "PX_AR_Invoice");
    let document = document(types, sets);
    for name in ["SOOrder", "PX_Objects_SO_SOOrder", "Invoice"] {
        assert_eq!(read_some(&document, &|known| known == name).unwrap().sets.len(), 1, "{name}");
    }
    assert_eq!(read_some(&document, &|known| known == "Line").unwrap().sets, []);
}

#[test]
fn inquiries_that_share_a_type_stay_two() {
    let model = model(
        TYPE,
        r#"<EntitySet Name="AR-T" EntityType="NS.T"/><EntitySet Name="AR T" EntityType="NS.T"/>"#,
    );
    assert_eq!(model.sets.len(), 2);
    assert_eq!(find(&model, "AR T").unwrap().name, "AR T");
}

#[test]
fn a_set_whose_type_is_missing() {
    let model =
        model("", r#"<EntitySet Name="S" EntityType="NS.T"/><EntitySet Name="PX_S" EntityType="NS.T"/>"#);
    assert_eq!(model.sets.len(), 2);
    assert_eq!(model.faults.len(), 2);
    assert!(model.sets[0].properties.is_empty());
}

#[test]
fn a_namespace_has_other_names() {
    let types = format!("{TYPE}<EntityType Name=\"U\" BaseType=\"Self.T\"/>");
    let text = document(
        &types,
        r#"<EntitySet Name="A" EntityType="Self.U"/><EntitySet Name="B" EntityType="Lost.T"/>"#,
    );
    let model = read(text.replace("Namespace=\"NS\"", "Namespace=\"NS\" Alias=\"Self\"")).unwrap();
    assert_eq!(model.sets.iter().map(|set| &*set.key[0]).collect::<Vec<_>>(), ["K", "K"]);
}

#[test]
fn titles_and_restrictions_inside() {
    let types = r#"<EntityType Name="T"><Property Name="A" Type="Edm.String"><Annotation
        Term="Org.OData.Core.V1.Description" String="Order &amp; &#x4e;br."/></Property>
        <Property Name="B" Type="Edm.String"><Annotation Term="Core.Description"><String> B &lt;<![CDATA[&]]>&#33; &x;
        </String></Annotation></Property><Property Name="C" Type="Edm.String"><Annotation
        Term="Core.LongDescription" String="no"/><Annotation Term="a.b.Description" String="no"/></Property>
        <Annotation Term="Core.Description" String="Type"/></EntityType>"#;
    let restrictions = r#"<EntitySet Name="S" EntityType="NS.T"><Annotation
        Term="Org.OData.Capabilities.V1.FilterRestrictions"><Record><PropertyValue Property="Filterable" Bool="true"/>
        <PropertyValue Property="NonFilterableProperties"><Collection><PropertyPath>A</PropertyPath>
        <PropertyPath> B </PropertyPath></Collection></PropertyValue><PropertyValue Property="RequiredProperties">
        <Collection><PropertyPath>C</PropertyPath></Collection></PropertyValue></Record></Annotation></EntitySet>"#;
    let model = model(types, restrictions);
    let set = &model.sets[0];
    assert_eq!(set.title.as_deref(), Some("Type"));
    let titles: Vec<_> = set.properties.iter().map(|property| property.title.as_deref()).collect();
    assert_eq!(titles, [Some("Order & Nbr."), Some("B <&!"), None]);
    let filterable: Vec<_> = set.properties.iter().map(|property| property.filterable).collect();
    assert_eq!(filterable, [false, false, true]);
    assert_eq!(model.faults, ["the entity \"&x;\" is not expanded"]);
}

#[test]
fn titles_and_restrictions_elsewhere() {
    let types = r#"<EntityType Name="T"><Property Name="A" Type="Edm.String"/><Property Name="B" Type="Edm.String"/>
        </EntityType><Annotations Target="NS.T/A"><Annotation Term="Core.Description" String="a"/></Annotations>
        <Annotations Target="NS.T"><Annotation Term="Core.Description" String="t"/></Annotations>
        <Annotations Target="D.C/S"><Annotation Term="Core.Description" String="s"/>
        <Annotation Term="Capabilities.FilterRestrictions"><Record><PropertyValue
        Property="NonFilterableProperties" PropertyPath="B"/></Record></Annotation></Annotations>
        <Annotations Target="NS.S_WithParameters(Edm.String)/P"><Annotation Term="Core.OptionalParameter"/></Annotations>
        <Annotations Target="No.Where/At"><Annotation Term="Core.Description" String="x"/></Annotations>
        <Function Name="S_WithParameters"><Parameter Name="P" Type="Edm.String"/></Function>"#;
    let model = model(types, SET);
    let set = &model.sets[0];
    assert_eq!(set.title.as_deref(), Some("s"));
    assert_eq!(set.properties[0].title.as_deref(), Some("a"));
    assert!(set.properties[0].filterable && !set.properties[1].filterable);
    assert!(!set.parameters[0].required);
}

#[test]
fn relations_of_v4() {
    let types = r#"<EntityType Name="T"><NavigationProperty Name="Lines" Type="Collection(NS.U)"/>
        <NavigationProperty Name="Customer" Type="NS.V"><ReferentialConstraint Property="CustomerID"
        ReferencedProperty="BAccountID"/><ReferentialConstraint Property="X" ReferencedProperty="Y"/>
        </NavigationProperty><NavigationProperty Name="Nowhere"/></EntityType><EntityType Name="U"/>
        <EntityType Name="V"/>"#;
    let sets = r#"<EntitySet Name="U" EntityType="NS.U"/><EntitySet Name="PX_U" EntityType="NS.U"/>"#;
    let text = document(types, &format!("{SET}{sets}"));
    let model = read_some(text, &|name| name == "S").unwrap();
    let pair = |here: &str, there: &str| (here.to_owned(), there.to_owned());
    let expected = [
        Relation { name: "Lines".into(), target: "PX_U".into(), many: true, columns: vec![] },
        Relation {
            name: "Customer".into(),
            target: "V".into(),
            many: false,
            columns: vec![pair("CustomerID", "BAccountID"), pair("X", "Y")],
        },
    ];
    assert_eq!(model.sets[0].relations, expected);
}

#[test]
fn relations_of_v3() {
    let types = r#"<EntityType Name="T"><NavigationProperty Name="Lines" Relationship="NS.A" FromRole="one" ToRole="lines"/>
        <NavigationProperty Name="Lost" Relationship="NS.Lost" ToRole="lines"/></EntityType><EntityType Name="U">
        <NavigationProperty Name="Order" Relationship="NS.A" FromRole="lines" ToRole="one"/></EntityType>
        <Association Name="A"><End Role="one" Type="NS.T" Multiplicity="0..1"/><End Role="lines" Type="NS.U"
        Multiplicity="*"/><ReferentialConstraint><Principal Role="one"><PropertyRef Name="Nbr"/></Principal>
        <Dependent Role="lines"><PropertyRef Name="OrderNbr"/></Dependent></ReferentialConstraint></Association>"#;
    let model = model(types, &format!("{SET}<EntitySet Name=\"U\" EntityType=\"NS.U\"/>"));
    let relation = |name: &str, target: &str, many, (here, there): (&str, &str)| Relation {
        name: name.into(),
        target: target.into(),
        many,
        columns: vec![(here.into(), there.into())],
    };
    assert_eq!(model.sets[0].relations, [relation("Lines", "U", true, ("Nbr", "OrderNbr"))]);
    assert_eq!(model.sets[1].relations, [relation("Order", "S", false, ("OrderNbr", "Nbr"))]);
}

#[test]
fn inquiries_with_parameters() {
    let types = format!(
        r#"{TYPE}<EntityType Name="U"/><Function Name="S_WithParameters"><Parameter Name="A" Type="Edm.Int32"/>
        <Parameter Name="B" Type="Edm.Date"><Annotation Term="Org.OData.Core.V1.OptionalParameter"/></Parameter>
        <Parameter Name="C" Type="Edm.String"/><ReturnType Type="Collection(NS.T)"/></Function>
        <Function Name="S_WithParameters"><Parameter Name="A" Type="Edm.Int32"/></Function>
        <Function Name="U_WithParameters"><Parameter Name="X" Type="Edm.Guid"/>
        <ReturnType Type="Collection(NS.U)"/></Function>
        <Function Name="Lost_WithParameters"><Parameter Name="X" Type="Edm.Guid"/>
        <ReturnType Type="Collection(NS.T)"/></Function><Function Name="Without_WithParameters"/>
        <Function Name="GetDeletedRecords"><Parameter Name="X" Type="Edm.Guid"/></Function>"#
    );
    let imports = r#"<FunctionImport Name="U X_WithParameters" Function="NS.U_WithParameters" EntitySet="no"/>
        <FunctionImport Name="U_WithParameters" Function="NS.U_WithParameters"/>"#;
    let model = model(&types, &format!("{SET}{imports}"));
    let parameter = |name: &str, ty, required| InquiryParameter { name: name.into(), ty, required };
    let expected = [
        parameter("A", FieldType::Int4, true),
        parameter("B", FieldType::Date, false),
        parameter("C", FieldType::Text, false),
    ];
    assert_eq!(model.sets.iter().map(|set| &*set.name).collect::<Vec<_>>(), ["S", "U X"]);
    assert_eq!(model.sets[0].parameters, expected);
    assert_eq!(model.sets[1].parameters, [parameter("X", FieldType::Uuid, true)]);
    assert_eq!(model.faults, ["the function \"Lost_WithParameters\" is left out: it belongs to no set"]);
}

#[test]
fn inquiries_with_parameters_in_v3() {
    let import = r#"<FunctionImport Name="s_WithParameters" EntitySet="S" ReturnType="Collection(NS.T)">
        <Parameter Name="A" Type="Edm.DateTime" Mode="In"/></FunctionImport>"#;
    let model = model(TYPE, &format!("{import}{SET}"));
    assert_eq!(model.sets[0].parameters[0].ty, FieldType::TimestampTz);
}

/// 3.1, as the vendor's guide shows a document of v4: the function has the inquiry's name, and the import has the name
/// of the type.
#[test]
fn issue_3_1_an_import_of_v4_names_function_and_set() {
    let types = r#"<EntityType Name="DBStock"/><EntityType Name="Rev2Stock"/><Function Name="DB-Stock"><Parameter
        Name="Warehouse" Type="Edm.String"/><ReturnType Type="Collection(NS.DBStock)" Nullable="false"/></Function>
        <Function Name="Rev. 2 (all) <Stock> &quot;&"><Parameter Name="Day" Type="Edm.DateTimeOffset"/></Function>
        <Function Name="DB-Stock" IsBound="true"><Parameter Name="x" Type="NS.DBStock"/></Function>
        <Annotations Target="Self.Rev. 2 (all) <Stock> &quot;&(Edm.DateTimeOffset)/Day"><Annotation
        Term="Core.OptionalParameter"/></Annotations>"#;
    let sets = r#"<EntitySet Name="DB-Stock" EntityType="NS.DBStock"/>
        <EntitySet Name="Rev. 2 (all) <Stock> &quot;&" EntityType="NS.Rev2Stock"/>
        <FunctionImport Name="DBStock_WithParameters" Function="NS.DB-Stock" EntitySet="DB-Stock"/>
        <FunctionImport Name="Rev2Stock_WithParameters" Function="Self.Rev. 2 (all) <Stock> &quot;&"/>"#;
    let model = model(types, sets);
    let called: Vec<_> = model.sets.iter().map(|set| set.function.as_deref()).collect();
    assert_eq!(called, [Some("DBStock_WithParameters"), Some("Rev2Stock_WithParameters")]);
    let parameter = |name: &str, ty, required| InquiryParameter { name: name.into(), ty, required };
    assert_eq!(model.sets[0].parameters, [parameter("Warehouse", FieldType::Text, true)]);
    assert_eq!(model.sets[1].parameters, [parameter("Day", FieldType::TimestampTz, false)]);
    assert_eq!(model.faults, [""; 0]);
}

/// 3.1, as a server of 2024 R1 sent it: the import has the name of the type, and its set says which inquiry it is.
#[test]
fn issue_3_1_an_import_of_v3_has_the_name_of_the_type() {
    let types = r#"<EntityType Name="PMProjectSummary"/><EntityType Name="ItemAvailabilityData"/>"#;
    let import = |name: &str, set: &str| {
        format!(
            r#"<FunctionImport Name="{name}_WithParameters" ReturnType="Collection(NS.{name})" IsSideEffecting="false"
            {set}><Parameter Name="OwnerID" Type="Edm.String"/></FunctionImport>"#
        )
    };
    let sets = r#"<EntitySet Name="PM-Project Summary" EntityType="NS.PMProjectSummary"/>
        <EntitySet Name="Item Availability Data" EntityType="NS.ItemAvailabilityData"/>"#;
    for set in ["EntitySet=\"Item Availability Data\"", "EntitySet=\"Default/Item Availability Data\"", ""] {
        let imports = [
            import("PMProjectSummary", "EntitySet=\"PM-Project Summary\""),
            import("ItemAvailabilityData", set),
        ];
        let model = model(types, &format!("{sets}{}", imports.concat()));
        let called: Vec<_> = model.sets.iter().map(|set| set.function.as_deref()).collect();
        let expected = ["PMProjectSummary_WithParameters", "ItemAvailabilityData_WithParameters"];
        assert_eq!(called, expected.map(Some), "{set}");
        assert!(model.sets.iter().all(|set| set.parameters.len() == 1) && model.faults.is_empty());
    }
}

/// 3.1: it is not known which inquiry such a name calls, but neither may be read without parameters.
#[test]
fn issue_3_1_a_function_that_may_be_of_two_inquiries_is_not_called() {
    let types = r#"<EntityType Name="ART"/><Function Name="AR-T"><Parameter Name="A" Type="Edm.String"/></Function>
        <Function Name="AR T"><Parameter Name="B" Type="Edm.String"/></Function>"#;
    let sets = r#"<EntitySet Name="AR-T" EntityType="NS.ART"/><EntitySet Name="AR T" EntityType="NS.ART"/>"#;
    let imports = r#"<FunctionImport Name="ART_WithParameters" Function="NS.AR-T" EntitySet="AR-T"/>
        <FunctionImport Name="ART_WithParameters" Function="NS.AR T" EntitySet="AR T"/>"#;
    let unsure = r#"<FunctionImport Name="ART_WithParameters" ReturnType="Collection(NS.ART)"><Parameter Name="A"
        Type="Edm.String"/></FunctionImport>"#;
    for (types, imports) in [(types, imports), ("<EntityType Name='ART'/>", unsure)] {
        let model = model(types, &format!("{sets}{imports}"));
        assert!(model.sets.iter().all(|set| set.parameters.len() == 1 && set.function.is_none()));
        assert_eq!((model.sets.len(), model.faults.len()), (2, 2));
    }
}

/// 2.5 and 3.8, after what the container of a 2026 R2 declares.
fn dac() -> String {
    let space = |name: &str, inner: &str| format!("<Schema Namespace=\"{name}\">{inner}</Schema>");
    let ty = |name: &str, inner: &str| format!("<EntityType Name=\"{name}\" {inner}</EntityType>");
    let key =
        "><Key><PropertyRef Name=\"ID\"/></Key><Property Name=\"ID\" Type=\"Edm.Int32\" Nullable=\"false\"/>";
    let base = ty("BAccount", &format!("{key}<Property Name=\"AcctCD\" Type=\"Edm.String\"/>"));
    let customer = r#"BaseType="PX.Objects.CR.BAccount"><Property Name="Terms" Type="Edm.String"/>"#;
    let sets = |class: &str, names: &[&str], inner: &str| -> String {
        let full = class.replace('.', "_");
        let set =
            |name: &&str| format!("<EntitySet Name=\"{name}\" EntityType=\"{class}\">{inner}</EntitySet>");
        names.iter().map(set).chain([set(&&*full)]).collect()
    };
    let refused = r#"<Annotation Term="Org.OData.Capabilities.V1.FilterRestrictions"><Record><PropertyValue
        Property="Filterable" Bool="false"/></Record></Annotation>"#;
    let container = [
        sets("PX.Objects.SO.SOOrder", &["SalesOrder", "SOOrder"], ""),
        sets("PX.Objects.AR.Customer", &["Customer4"], refused),
        sets("PX.Cloud.RecognizedRecordProjection", &["RecognizedRecord"], ""),
        sets("PX.Cloud.RecognizedRecord", &["RecognizedRecord1"], ""),
        "<Singleton Name=\"PX_Objects_AR_ARSetup\" Type=\"PX.Objects.AR.ARSetup\"/>".to_owned(),
    ];
    let container = format!("<EntityContainer Name=\"Container\">{}</EntityContainer>", container.concat());
    [
        "<Edmx>".to_owned(),
        space("PX.Objects.SO", &ty("SOOrder", key)),
        space(
            "PX.Objects.AR",
            &[ty("Customer", customer), ty("ARSetup", "><Property Name=\"A\" Type=\"Edm.Int32\"/>")].concat(),
        ),
        space("PX.Cloud", &[ty("RecognizedRecord", key), ty("RecognizedRecordProjection", key)].concat()),
        space("PX.Objects.CR", &[base, ty("NoSet", key)].concat()),
        space("Default", &container),
        "</Edmx>".to_owned(),
    ]
    .concat()
}

#[test]
fn issue_2_5_a_class_is_one_set_whatever_it_is_called() {
    let model = read(dac()).unwrap();
    let all: Vec<(&str, Option<&str>, String)> =
        model.sets.iter().map(|set| (&*set.name, set.class.as_deref(), set.aliases.join(" "))).collect();
    let expected = [
        ("PX_Objects_SO_SOOrder", Some("SOOrder"), "SalesOrder SOOrder"),
        ("PX_Objects_AR_Customer", Some("Customer"), "Customer4 Customer"),
        (
            "PX_Cloud_RecognizedRecordProjection",
            Some("RecognizedRecordProjection"),
            "RecognizedRecord RecognizedRecordProjection",
        ),
        ("PX_Cloud_RecognizedRecord", Some("RecognizedRecord"), "RecognizedRecord1"),
        ("PX_Objects_AR_ARSetup", Some("ARSetup"), "ARSetup"),
    ];
    assert_eq!(all, expected.map(|(name, class, aliases)| (name, class, aliases.to_owned())));
    // A class whose name is also the alias of another class is found for whoever wants it, and kept apart from the
    // other.
    let both = read_some(dac(), &|name| name == "RecognizedRecord").unwrap();
    assert_eq!(both.sets.len(), 2);
    assert_eq!(rival(&both, "recognizedrecord").unwrap().name, "PX_Cloud_RecognizedRecord");
    for name in
        ["SalesOrder", "SOOrder", "PX_Cloud_RecognizedRecord", "RecognizedRecord1", "Customer", "Nothing"]
    {
        assert_eq!(rival(&model, name), None, "{name}");
    }
    let customer = find(&model, "Customer4").unwrap();
    assert_eq!((&*customer.key[0], names(&customer.properties)), ("ID", vec!["ID", "AcctCD", "Terms"]));
    assert_eq!(model.faults, [""; 0]);
}

#[test]
fn issue_3_8_setup_classes_and_classes_that_cannot_be_filtered() {
    let model = read(dac()).unwrap();
    let singletons: Vec<&str> = model.sets.iter().filter(|set| set.singleton).map(|set| &*set.name).collect();
    assert_eq!(singletons, ["PX_Objects_AR_ARSetup"]);
    let unfilterable: Vec<&str> = model
        .sets
        .iter()
        .filter(|set| set.properties.iter().all(|it| !it.filterable))
        .map(|set| &*set.name)
        .collect();
    assert_eq!(unfilterable, ["PX_Objects_AR_Customer"]);
    assert!(model.sets[0].properties.iter().all(|property| property.filterable));
    // A note on the class itself is about its own and its inherited properties, not about those of classes that derive
    // from it.
    let types = r#"<EntityType Name="B"><Property Name="B" Type="Edm.Int32"/></EntityType><EntityType Name="T"
        BaseType="NS.B"><Property Name="T" Type="Edm.Int32"/><Annotation Term="Capabilities.FilterRestrictions"><Record>
        <PropertyValue Property="Filterable"><Bool>false</Bool></PropertyValue></Record></Annotation></EntityType>
        <EntityType Name="D" BaseType="NS.T"><Property Name="D" Type="Edm.Int32"/></EntityType>"#;
    let sets: String =
        ["B", "T", "D"].map(|name| format!("<EntitySet Name=\"{name}\" EntityType=\"NS.{name}\"/>")).concat();
    let model = self::model(types, &sets);
    let filterable = |at: usize| -> Vec<&str> {
        names(model.sets[at].properties.iter().filter(|property| property.filterable))
    };
    assert_eq!((filterable(0), filterable(1), filterable(2)), (vec!["B"], vec![], vec!["D"]));
}

/// 3.4: hidden keys stand behind everything that is on the grid.
#[test]
fn issue_3_4_keys_behind_all_other_properties_are_appended() {
    let appended = |keys: &[&str], properties: &[&str]| -> Vec<String> {
        let key = |name: &&str| format!("<PropertyRef Name=\"{name}\"/>");
        let property = |name: &&str| format!("<Property Name=\"{name}\" Type=\"Edm.String\"/>");
        let (keys, properties): (String, String) =
            (keys.iter().map(key).collect(), properties.iter().map(property).collect());
        let types = format!("<EntityType Name=\"T\"><Key>{keys}</Key>{properties}</EntityType>");
        model(&types, SET).sets[0].appended().iter().map(|property| property.name.clone()).collect()
    };
    let keys = ["LeadID", "ContactID", "LeadID_2"];
    assert_eq!(appended(&keys, &["LeadID", "Email", "ContactID", "LeadID_2"]), ["ContactID", "LeadID_2"]);
    assert_eq!(appended(&keys, &["ContactID", "LeadID", "LeadID_2", "Email"]), [""; 0]);
    // Nothing tells which of these are on the grid, except for the first one.
    assert_eq!(appended(&keys, &["LeadID", "ContactID", "LeadID_2"]), ["ContactID", "LeadID_2"]);
    assert_eq!(appended(&[], &["A", "B"]), [""; 0]);
    assert_eq!(appended(&["K"], &[]), [""; 0]);
}

#[test]
fn names_that_xml_forbids_are_taken_as_they_stand() {
    let types = format!(
        "{TYPE}<Function Name=\"R&D <\u{c4}> 'x' &amp; y_WithParameters\"><Parameter Name=\"A&B\" Type=\"Edm.String\"/>
        <Parameter A Name=unquoted B='x' Name='B' Type='Edm.String' Type='Edm.Int32'/></Function> & "
    );
    let model = model(&types, "<EntitySet Name=\"R&D <\u{e4}> 'x' &amp; y\" EntityType=\"NS.T\"/>");
    assert_eq!(model.sets[0].name, "R&D <\u{e4}> 'x' &amp; y");
    let parameters: Vec<_> = model.sets[0].parameters.iter().map(|parameter| &*parameter.name).collect();
    assert_eq!(parameters, ["A&B", "B"]);
}

#[test]
fn entities_are_not_expanded() {
    let mut bomb = "<!DOCTYPE x [<!ENTITY a0 \"ha\">".to_owned();
    for level in 1..64 {
        bomb += &format!("<!ENTITY a{level} \"&a{0};&a{0};\">", level - 1);
    }
    bomb += "<!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
    let set = r#"<EntitySet Name="S&a63;" EntityType="NS.T"><Annotation Term="Core.Description"><String>&f;x</String>
        </Annotation></EntitySet>"#;
    let model = read(format!("{bomb}{}", document(TYPE, set))).unwrap();
    assert_eq!(model.sets[0].name, "S&a63;");
    assert_eq!(model.sets[0].title.as_deref(), Some("x"));
    assert_eq!(model.faults.len(), 2);
}
