"""Declarations of the tables of eICU-CRD 2.0.

Columns, dtypes and keys follow the create-table scripts of MIT-LCP/eicu-code; the open demo 2.0.1 has the same headers.
There are no dates: a column that ends in `offset` is in minutes since the unit admission of the row's
patientunitstayid, negative before it. File names are matched ignoring case (the demo has `infusiondrug`, the release
`infusionDrug`).
"""

from data_modules.raw.schema import ReleaseSchema, Table, declare, parse_columns

PROJECT = "eicu-crd"
MINUTES = "minutes since unit admission"
UNITS = {
    "admissionheight": "cm",
    "admissionweight": "kg",
    "dischargeweight": "kg",
    "labresult": "labmeasurenameinterface",
    "temperature": "C",
    "sao2": "%",
    "heartrate": "1/min",
    "respiration": "1/min",
}
"""Column -> unit, in every table with the column; offsets are in minutes."""


def _table(
    name: str,
    columns: str,
    *,
    key: str = "",
    event_at: str | None = None,
    available_at: str | None = None,
    core: bool = False,
) -> Table:
    """A table whose file has its name; the unit of every offset is minutes."""
    declared = parse_columns(columns)
    offsets = {column: MINUTES for column in declared if column.endswith("offset")}
    return Table(
        name=name,
        project=PROJECT,
        path=name,
        columns=declared,
        key=(key,) if key else (),
        event_at=event_at,
        available_at=available_at,
        units=offsets | {column: unit for column, unit in UNITS.items() if column in declared},
        core=core,
    )


# Monitors record integers in vitalPeriodic, but rebuilt files have medians: measurements are read as floats.
_TABLES = (
    _table(
        "patient",
        "patientunitstayid:int patienthealthsystemstayid:int gender:str age:str ethnicity:str hospitalid:int "
        "wardid:int apacheadmissiondx:str admissionheight:float hospitaladmittime24:str hospitaladmitoffset:int "
        "hospitaladmitsource:str hospitaldischargeyear:int hospitaldischargetime24:str "
        "hospitaldischargeoffset:int hospitaldischargelocation:str hospitaldischargestatus:str unittype:str "
        "unitadmittime24:str unitadmitsource:str unitvisitnumber:int unitstaytype:str admissionweight:float "
        "dischargeweight:float unitdischargetime24:str unitdischargeoffset:int unitdischargelocation:str "
        "unitdischargestatus:str uniquepid:str",
        key="patientunitstayid",
        core=True,
    ),
    _table(
        "hospital",
        "hospitalid:int numbedscategory:str teachingstatus:str region:str",
        key="hospitalid",
        core=True,
    ),
    _table(
        "admissionDx",
        "admissiondxid:int patientunitstayid:int admitdxenteredoffset:int admitdxpath:str admitdxname:str "
        "admitdxtext:str",
        key="admissiondxid",
        event_at="admitdxenteredoffset",
    ),
    _table(
        "diagnosis",
        "diagnosisid:int patientunitstayid:int activeupondischarge:str diagnosisoffset:int diagnosisstring:str "
        "icd9code:str diagnosispriority:str",
        key="diagnosisid",
        event_at="diagnosisoffset",
    ),
    _table(
        "treatment",
        "treatmentid:int patientunitstayid:int treatmentoffset:int treatmentstring:str activeupondischarge:str",
        key="treatmentid",
        event_at="treatmentoffset",
    ),
    _table(
        "medication",
        "medicationid:int patientunitstayid:int drugorderoffset:int drugstartoffset:int drugivadmixture:str "
        "drugordercancelled:str drugname:str drughiclseqno:int dosage:str routeadmin:str frequency:str "
        "loadingdose:str prn:str drugstopoffset:int gtc:int",
        key="medicationid",
        event_at="drugstartoffset",
        available_at="drugorderoffset",
    ),
    _table(
        "admissionDrug",
        "admissiondrugid:int patientunitstayid:int drugoffset:int drugenteredoffset:int drugnotetype:str "
        "specialtytype:str usertype:str rxincluded:str writtenineicu:str drugname:str drugdosage:float "
        "drugunit:str drugadmitfrequency:str drughiclseqno:int",
        key="admissiondrugid",
        event_at="drugoffset",
        available_at="drugenteredoffset",
    ),
    _table(
        "infusionDrug",
        "infusiondrugid:int patientunitstayid:int infusionoffset:int drugname:str drugrate:str infusionrate:str "
        "drugamount:str volumeoffluid:str patientweight:str",
        key="infusiondrugid",
        event_at="infusionoffset",
    ),
    _table(
        "lab",
        "labid:int patientunitstayid:int labresultoffset:int labtypeid:int labname:str labresult:float "
        "labresulttext:str labmeasurenamesystem:str labmeasurenameinterface:str labresultrevisedoffset:int",
        key="labid",
        event_at="labresultoffset",
        available_at="labresultrevisedoffset",
    ),
    _table(
        "customLab",
        "customlabid:int patientunitstayid:int labotheroffset:int labothertypeid:int labothername:str "
        "labotherresult:str labothervaluetext:str",
        key="customlabid",
        event_at="labotheroffset",
    ),
    _table(
        "microLab",
        "microlabid:int patientunitstayid:int culturetakenoffset:int culturesite:str organism:str antibiotic:str "
        "sensitivitylevel:str",
        key="microlabid",
        event_at="culturetakenoffset",
    ),
    _table(
        "vitalPeriodic",
        "vitalperiodicid:int patientunitstayid:int observationoffset:int temperature:float sao2:float "
        "heartrate:float respiration:float cvp:float etco2:float systemicsystolic:float systemicdiastolic:float "
        "systemicmean:float pasystolic:float padiastolic:float pamean:float st1:float st2:float st3:float "
        "icp:float",
        key="vitalperiodicid",
        event_at="observationoffset",
    ),
    _table(
        "vitalAperiodic",
        "vitalaperiodicid:int patientunitstayid:int observationoffset:int noninvasivesystolic:float "
        "noninvasivediastolic:float noninvasivemean:float paop:float cardiacoutput:float cardiacinput:float "
        "svr:float svri:float pvr:float pvri:float",
        key="vitalaperiodicid",
        event_at="observationoffset",
    ),
    _table(
        "nurseCharting",
        "nursingchartid:int patientunitstayid:int nursingchartoffset:int nursingchartentryoffset:int "
        "nursingchartcelltypecat:str nursingchartcelltypevallabel:str nursingchartcelltypevalname:str "
        "nursingchartvalue:str",
        key="nursingchartid",
        event_at="nursingchartoffset",
        available_at="nursingchartentryoffset",
    ),
    _table(
        "nurseCare",
        "nursecareid:int patientunitstayid:int celllabel:str nursecareoffset:int nursecareentryoffset:int "
        "cellattributepath:str cellattribute:str cellattributevalue:str",
        key="nursecareid",
        event_at="nursecareoffset",
        available_at="nursecareentryoffset",
    ),
    _table(
        "nurseAssessment",
        "nurseassessid:int patientunitstayid:int nurseassessoffset:int nurseassessentryoffset:int "
        "cellattributepath:str celllabel:str cellattribute:str cellattributevalue:str",
        key="nurseassessid",
        event_at="nurseassessoffset",
        available_at="nurseassessentryoffset",
    ),
    _table(
        "intakeOutput",
        "intakeoutputid:int patientunitstayid:int intakeoutputoffset:int intaketotal:float outputtotal:float "
        "dialysistotal:float nettotal:float intakeoutputentryoffset:int cellpath:str celllabel:str "
        "cellvaluenumeric:float cellvaluetext:str",
        key="intakeoutputid",
        event_at="intakeoutputoffset",
        available_at="intakeoutputentryoffset",
    ),
    _table(
        "respiratoryCare",
        "respcareid:int patientunitstayid:int respcarestatusoffset:int currenthistoryseqnum:int airwaytype:str "
        "airwaysize:str airwayposition:str cuffpressure:float ventstartoffset:int ventendoffset:int "
        "priorventstartoffset:int priorventendoffset:int apneaparams:str lowexhmvlimit:float hiexhmvlimit:float "
        "lowexhtvlimit:float hipeakpreslimit:float lowpeakpreslimit:float hirespratelimit:float "
        "lowrespratelimit:float sighpreslimit:float lowironoxlimit:float highironoxlimit:float "
        "meanairwaypreslimit:float peeplimit:float cpaplimit:float setapneainterval:str setapneatv:str "
        "setapneaippeephigh:str setapnearr:str setapneapeakflow:str setapneainsptime:str setapneaie:str "
        "setapneafio2:str",
        key="respcareid",
        event_at="respcarestatusoffset",
    ),
    _table(
        "respiratoryCharting",
        "respchartid:int patientunitstayid:int respchartoffset:int respchartentryoffset:int respcharttypecat:str "
        "respchartvaluelabel:str respchartvalue:str",
        key="respchartid",
        event_at="respchartoffset",
        available_at="respchartentryoffset",
    ),
    _table(
        "apacheApsVar",
        "apacheapsvarid:int patientunitstayid:int intubated:int vent:int dialysis:int eyes:int motor:int "
        "verbal:int meds:int urine:float wbc:float temperature:float respiratoryrate:float sodium:float "
        "heartrate:float meanbp:float ph:float hematocrit:float creatinine:float albumin:float pao2:float "
        "pco2:float bun:float glucose:float bilirubin:float fio2:float",
        key="apacheapsvarid",
    ),
    _table(
        "apachePredVar",
        "apachepredvarid:int patientunitstayid:int sicuday:int saps3day1:int saps3today:int saps3yesterday:int "
        "gender:int teachtype:int region:int bedcount:int admitsource:int graftcount:int meds:int verbal:int "
        "motor:int eyes:int age:int admitdiagnosis:str thrombolytics:int diedinhospital:int aids:int "
        "hepaticfailure:int lymphoma:int metastaticcancer:int leukemia:int immunosuppression:int cirrhosis:int "
        "electivesurgery:int activetx:int readmit:int ima:int midur:int ventday1:int oobventday1:int "
        "oobintubday1:int diabetes:int managementsystem:int var03hspxlos:float pao2:float fio2:float "
        "ejectfx:float creatinine:float dischargelocation:int visitnumber:int amilocation:int day1meds:int "
        "day1verbal:int day1motor:int day1eyes:int day1pao2:float day1fio2:float",
        key="apachepredvarid",
    ),
    _table(
        "apachePatientResult",
        "apachepatientresultsid:int patientunitstayid:int physicianspeciality:str "
        "physicianinterventioncategory:str acutephysiologyscore:int apachescore:int apacheversion:str "
        "predictedicumortality:str actualicumortality:str predictediculos:float actualiculos:float "
        "predictedhospitalmortality:str actualhospitalmortality:str predictedhospitallos:float "
        "actualhospitallos:float preopmi:int preopcardiaccath:int ptcawithin24h:int unabridgedunitlos:float "
        "unabridgedhosplos:float actualventdays:float predventdays:float unabridgedactualventdays:float",
        key="apachepatientresultsid",
    ),
    _table(
        "pastHistory",
        "pasthistoryid:int patientunitstayid:int pasthistoryoffset:int pasthistoryenteredoffset:int "
        "pasthistorynotetype:str pasthistorypath:str pasthistoryvalue:str pasthistoryvaluetext:str",
        key="pasthistoryid",
        event_at="pasthistoryoffset",
        available_at="pasthistoryenteredoffset",
    ),
    _table(
        "physicalExam",
        "physicalexamid:int patientunitstayid:int physicalexamoffset:int physicalexampath:str "
        "physicalexamvalue:str physicalexamtext:str",
        key="physicalexamid",
        event_at="physicalexamoffset",
    ),
    _table(
        "note",
        "noteid:int patientunitstayid:int noteoffset:int noteenteredoffset:int notetype:str notepath:str "
        "notevalue:str notetext:str",
        key="noteid",
        event_at="noteoffset",
        available_at="noteenteredoffset",
    ),
    _table(
        "allergy",
        "allergyid:int patientunitstayid:int allergyoffset:int allergyenteredoffset:int allergynotetype:str "
        "specialtytype:str usertype:str rxincluded:str writtenineicu:str drugname:str allergytype:str "
        "allergyname:str drughiclseqno:int",
        key="allergyid",
        event_at="allergyoffset",
        available_at="allergyenteredoffset",
    ),
    _table(
        "carePlanGeneral",
        "cplgeneralid:int patientunitstayid:int activeupondischarge:str cplitemoffset:int cplgroup:str "
        "cplitemvalue:str",
        key="cplgeneralid",
        event_at="cplitemoffset",
    ),
    _table(
        "carePlanCareProvider",
        "cplcareprovderid:int patientunitstayid:int careprovidersaveoffset:int providertype:str specialty:str "
        "interventioncategory:str managingphysician:str activeupondischarge:str",
        key="cplcareprovderid",
        event_at="careprovidersaveoffset",
    ),
    _table(
        "carePlanGoal",
        "cplgoalid:int patientunitstayid:int cplgoaloffset:int cplgoalcategory:str cplgoalvalue:str "
        "cplgoalstatus:str activeupondischarge:str",
        key="cplgoalid",
        event_at="cplgoaloffset",
    ),
    _table(
        "carePlanEOL",
        "cpleolid:int patientunitstayid:int cpleolsaveoffset:int cpleoldiscussionoffset:int activeupondischarge:str",
        key="cpleolid",
        event_at="cpleoldiscussionoffset",
        available_at="cpleolsaveoffset",
    ),
    _table(
        "carePlanInfectiousDisease",
        "cplinfectid:int patientunitstayid:int activeupondischarge:str cplinfectdiseaseoffset:int "
        "infectdiseasesite:str infectdiseaseassessment:str responsetotherapy:str treatment:str",
        key="cplinfectid",
        event_at="cplinfectdiseaseoffset",
    ),
)

EICU = ReleaseSchema(
    name="eicu",
    root_setting=("paths.eicu_root", "EICU_ROOT"),
    tables=declare(*_TABLES),
)
