"""Declarations of the tables of MIMIC-IV 3.1, its note, emergency and electrocardiogram modules, and MIMIC-CXR-JPG.

MIMIC-IV-Note 2.2, MIMIC-IV-ED 2.2, MIMIC-IV-ECG 1.0, MIMIC-CXR-JPG 2.1.0 and its image embeddings 1.0.

Columns, dtypes and keys follow the create-table scripts of MIT-LCP/mimic-code; 2.2 has the same headers. Codes are
strings, because leading zeros are significant. Times are shifted per subject and have no time zone.
"""

from data_modules.raw.schema import ReleaseSchema, Table, declare, parse_columns

HOSPITAL = "mimiciv"
NOTES = "mimic-iv-note"
IMAGE_PROJECT = "mimic-cxr-jpg"
EMBEDDINGS = "image-embeddings-mimic-cxr"
EMERGENCY = "mimic-iv-ed"
ELECTROCARDIOGRAMS = "mimic-iv-ecg"

_ECG_REPORTS = " ".join(f"report_{number}:str" for number in range(18))

_NOTE_COLUMNS = (
    "note_id:str subject_id:int hadm_id:int note_type:str note_seq:int charttime:datetime storetime:datetime text:str"
)

_HOSP = (
    Table(
        name="patients",
        project=HOSPITAL,
        path="hosp/patients",
        columns=parse_columns(
            "subject_id:int gender:str anchor_age:int anchor_year:int anchor_year_group:str dod:date"
        ),
        key=("subject_id",),
        units={"anchor_age": "years (over 89 is written 91)", "anchor_year": "shifted calendar year"},
        core=True,
    ),
    Table(
        name="admissions",
        project=HOSPITAL,
        path="hosp/admissions",
        columns=parse_columns(
            "subject_id:int hadm_id:int admittime:datetime dischtime:datetime deathtime:datetime "
            "admission_type:str admit_provider_id:str admission_location:str discharge_location:str "
            "insurance:str language:str marital_status:str race:str edregtime:datetime "
            "edouttime:datetime hospital_expire_flag:int"
        ),
        key=("hadm_id",),
        event_at="admittime",
        core=True,
    ),
    Table(
        name="transfers",
        project=HOSPITAL,
        path="hosp/transfers",
        columns=parse_columns(
            "subject_id:int hadm_id:int transfer_id:int eventtype:str careunit:str intime:datetime outtime:datetime"
        ),
        key=("transfer_id",),
        event_at="intime",
    ),
    Table(
        name="services",
        project=HOSPITAL,
        path="hosp/services",
        columns=parse_columns("subject_id:int hadm_id:int transfertime:datetime prev_service:str curr_service:str"),
        key=("hadm_id", "transfertime", "curr_service"),
        event_at="transfertime",
    ),
    Table(
        name="diagnoses_icd",
        project=HOSPITAL,
        path="hosp/diagnoses_icd",
        columns=parse_columns("subject_id:int hadm_id:int seq_num:int icd_code:str icd_version:int"),
        key=("hadm_id", "seq_num", "icd_code", "icd_version"),
    ),
    Table(
        name="drgcodes",
        project=HOSPITAL,
        path="hosp/drgcodes",
        columns=parse_columns(
            "subject_id:int hadm_id:int drg_type:str drg_code:str description:str drg_severity:int drg_mortality:int"
        ),
    ),
    Table(
        name="labevents",
        project=HOSPITAL,
        path="hosp/labevents",
        columns=parse_columns(
            "labevent_id:int subject_id:int hadm_id:int specimen_id:int itemid:int order_provider_id:str "
            "charttime:datetime storetime:datetime value:str valuenum:float valueuom:str "
            "ref_range_lower:float ref_range_upper:float flag:str priority:str comments:str"
        ),
        key=("labevent_id",),
        event_at="charttime",
        available_at="storetime",
        units={"valuenum": "valueuom"},
    ),
    Table(
        name="microbiologyevents",
        project=HOSPITAL,
        path="hosp/microbiologyevents",
        columns=parse_columns(
            "microevent_id:int subject_id:int hadm_id:int micro_specimen_id:int order_provider_id:str "
            "chartdate:datetime charttime:datetime spec_itemid:int spec_type_desc:str test_seq:int "
            "storedate:datetime storetime:datetime test_itemid:int test_name:str org_itemid:int "
            "org_name:str isolate_num:int quantity:str ab_itemid:int ab_name:str dilution_text:str "
            "dilution_comparison:str dilution_value:float interpretation:str comments:str"
        ),
        key=("microevent_id",),
        event_at="charttime",
        available_at="storetime",
    ),
    Table(
        name="prescriptions",
        project=HOSPITAL,
        path="hosp/prescriptions",
        columns=parse_columns(
            "subject_id:int hadm_id:int pharmacy_id:int poe_id:str poe_seq:int order_provider_id:str "
            "starttime:datetime stoptime:datetime drug_type:str drug:str formulary_drug_cd:str gsn:str "
            "ndc:str prod_strength:str form_rx:str dose_val_rx:str dose_unit_rx:str form_val_disp:str "
            "form_unit_disp:str doses_per_24_hrs:float route:str"
        ),
        key=("pharmacy_id", "drug_type", "drug"),
        event_at="starttime",
    ),
    Table(
        name="pharmacy",
        project=HOSPITAL,
        path="hosp/pharmacy",
        columns=parse_columns(
            "subject_id:int hadm_id:int pharmacy_id:int poe_id:str starttime:datetime stoptime:datetime "
            "medication:str proc_type:str status:str entertime:datetime verifiedtime:datetime route:str "
            "frequency:str disp_sched:str infusion_type:str sliding_scale:str lockout_interval:str "
            "basal_rate:float one_hr_max:str doses_per_24_hrs:float duration:float duration_interval:str "
            "expiration_value:int expiration_unit:str expirationdate:datetime dispensation:str fill_quantity:str"
        ),
        key=("pharmacy_id",),
        event_at="starttime",
        available_at="entertime",
    ),
)

_ICU = (
    Table(
        name="icustays",
        project=HOSPITAL,
        path="icu/icustays",
        columns=parse_columns(
            "subject_id:int hadm_id:int stay_id:int first_careunit:str last_careunit:str intime:datetime "
            "outtime:datetime los:float"
        ),
        key=("stay_id",),
        event_at="intime",
        units={"los": "days"},
        core=True,
    ),
    Table(
        name="chartevents",
        project=HOSPITAL,
        path="icu/chartevents",
        columns=parse_columns(
            "subject_id:int hadm_id:int stay_id:int caregiver_id:int charttime:datetime "
            "storetime:datetime itemid:int value:str valuenum:float valueuom:str warning:int"
        ),
        event_at="charttime",
        available_at="storetime",
        units={"valuenum": "valueuom"},
    ),
    Table(
        name="procedureevents",
        project=HOSPITAL,
        path="icu/procedureevents",
        columns=parse_columns(
            "subject_id:int hadm_id:int stay_id:int caregiver_id:int starttime:datetime "
            "endtime:datetime storetime:datetime itemid:int value:float valueuom:str location:str "
            "locationcategory:str orderid:int linkorderid:int ordercategoryname:str "
            "ordercategorydescription:str patientweight:float isopenbag:int continueinnextdept:int "
            "statusdescription:str originalamount:float originalrate:float"
        ),
        key=("orderid",),
        event_at="starttime",
        available_at="storetime",
        units={"value": "valueuom", "patientweight": "kg"},
    ),
    Table(
        name="inputevents",
        project=HOSPITAL,
        path="icu/inputevents",
        columns=parse_columns(
            "subject_id:int hadm_id:int stay_id:int caregiver_id:int starttime:datetime endtime:datetime "
            "storetime:datetime itemid:int amount:float amountuom:str rate:float rateuom:str orderid:int "
            "linkorderid:int ordercategoryname:str secondaryordercategoryname:str "
            "ordercomponenttypedescription:str ordercategorydescription:str patientweight:float "
            "totalamount:float totalamountuom:str isopenbag:int continueinnextdept:int statusdescription:str "
            "originalamount:float originalrate:float"
        ),
        key=("orderid", "itemid"),
        event_at="starttime",
        available_at="storetime",
        units={"amount": "amountuom", "rate": "rateuom", "patientweight": "kg"},
    ),
    Table(
        name="outputevents",
        project=HOSPITAL,
        path="icu/outputevents",
        columns=parse_columns(
            "subject_id:int hadm_id:int stay_id:int caregiver_id:int charttime:datetime storetime:datetime "
            "itemid:int value:float valueuom:str"
        ),
        key=("stay_id", "charttime", "itemid"),
        event_at="charttime",
        available_at="storetime",
        units={"value": "valueuom"},
    ),
)

_NOTE = tuple(
    Table(
        name=name,
        project=NOTES,
        path=f"note/{file}",
        columns=parse_columns(_NOTE_COLUMNS),
        key=("note_id",),
        event_at="charttime",
        available_at="storetime",
    )
    for name, file in (("discharge_notes", "discharge"), ("radiology_notes", "radiology"))
)

_CXR = (
    Table(
        name="cxr_metadata",
        project=IMAGE_PROJECT,
        path="mimic-cxr-2.0.0-metadata",
        columns=parse_columns(
            "dicom_id:str subject_id:int study_id:int PerformedProcedureStepDescription:str "
            "ViewPosition:str Rows:int Columns:int StudyDate:int StudyTime:float "
            "ProcedureCodeSequence_CodeMeaning:str ViewCodeSequence_CodeMeaning:str "
            "PatientOrientationCodeSequence_CodeMeaning:str"
        ),
        key=("dicom_id",),
        units={"StudyDate": "YYYYMMDD, shifted", "StudyTime": "HHMMSS.fff", "Rows": "px", "Columns": "px"},
    ),
    Table(
        name="cxr_split",
        project=IMAGE_PROJECT,
        path="mimic-cxr-2.0.0-split",
        columns=parse_columns("dicom_id:str study_id:int subject_id:int split:str"),
        key=("dicom_id",),
    ),
)

_ED = (
    Table(
        name="edstays",
        project=EMERGENCY,
        path="ed/edstays",
        columns=parse_columns(
            "subject_id:int hadm_id:int stay_id:int intime:datetime outtime:datetime gender:str race:str "
            "arrival_transport:str disposition:str"
        ),
        key=("stay_id",),
        event_at="intime",
    ),
    Table(
        name="triage",
        project=EMERGENCY,
        path="ed/triage",
        columns=parse_columns(
            "subject_id:int stay_id:int temperature:float heartrate:float resprate:float o2sat:float sbp:float "
            "dbp:float pain:str acuity:float chiefcomplaint:str"
        ),
        key=("stay_id",),
        units={"temperature": "degrees Fahrenheit", "sbp": "mmHg", "dbp": "mmHg", "o2sat": "%"},
    ),
    Table(
        name="ed_vitalsign",
        project=EMERGENCY,
        path="ed/vitalsign",
        columns=parse_columns(
            "subject_id:int stay_id:int charttime:datetime temperature:float heartrate:float resprate:float "
            "o2sat:float sbp:float dbp:float rhythm:str pain:str"
        ),
        event_at="charttime",
        units={"temperature": "degrees Fahrenheit", "sbp": "mmHg", "dbp": "mmHg", "o2sat": "%"},
    ),
)

_ECG = (
    Table(
        name="ecg_measurements",
        project=ELECTROCARDIOGRAMS,
        path="machine_measurements",
        columns=parse_columns(
            f"subject_id:int study_id:int cart_id:int ecg_time:datetime {_ECG_REPORTS} bandwidth:str filtering:str "
            "rr_interval:float p_onset:float p_end:float qrs_onset:float qrs_end:float t_end:float p_axis:float "
            "qrs_axis:float t_axis:float"
        ),
        key=("study_id",),
        event_at="ecg_time",
        units=dict.fromkeys(("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end"), "ms"),
    ),
)

MIMIC_IV = ReleaseSchema(
    name="mimic_iv",
    root_setting=("paths.mimic_root", "MIMIC_ROOT"),
    tables=declare(*_HOSP, *_ICU, *_NOTE, *_CXR, *_ED, *_ECG),
)
