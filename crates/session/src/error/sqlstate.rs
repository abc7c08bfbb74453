//! SQLSTATE codes and their names, as listed in appendix A of the PostgreSQL manual ("PostgreSQL
//! Error Codes").

use std::fmt;

/// A SQLSTATE code: five digits and upper-case letters, the first two of which name its class.
///
/// ```
/// use txpostgres_session::SqlState;
///
/// assert_eq!(SqlState::UNIQUE_VIOLATION.as_str(), "23505");
/// assert_eq!(SqlState::UNIQUE_VIOLATION.class(), "23");
/// assert_eq!(SqlState::from_code("40001"), Some(SqlState::T_R_SERIALIZATION_FAILURE));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// The code, if it has the form of one. Codes that are not in the manual are kept: extensions
    /// make their own.
    pub fn from_code(code: &str) -> Option<Self> {
        let bytes: [u8; 5] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()).then_some(Self(bytes))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        // Every constructor checks or writes ASCII.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The first two characters: the class of the condition.
    pub fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or("XX")
    }

    /// The condition's name as PL/pgSQL spells it, if the manual lists the code.
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(code, _)| code == self).map(|(_, name)| *name)
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{self} {name}"),
            None => write!(f, "{self}"),
        }
    }
}

impl SqlState {
    /// `00000` successful_completion (Class 00 - Successful Completion).
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    /// `01000` warning (Class 01 - Warning).
    pub const WARNING: Self = Self(*b"01000");
    /// `0100C` dynamic_result_sets_returned (Class 01 - Warning).
    pub const WARNING_DYNAMIC_RESULT_SETS_RETURNED: Self = Self(*b"0100C");
    /// `01008` implicit_zero_bit_padding (Class 01 - Warning).
    pub const WARNING_IMPLICIT_ZERO_BIT_PADDING: Self = Self(*b"01008");
    /// `01003` null_value_eliminated_in_set_function (Class 01 - Warning).
    pub const WARNING_NULL_VALUE_ELIMINATED_IN_SET_FUNCTION: Self = Self(*b"01003");
    /// `01007` privilege_not_granted (Class 01 - Warning).
    pub const WARNING_PRIVILEGE_NOT_GRANTED: Self = Self(*b"01007");
    /// `01006` privilege_not_revoked (Class 01 - Warning).
    pub const WARNING_PRIVILEGE_NOT_REVOKED: Self = Self(*b"01006");
    /// `01004` string_data_right_truncation (Class 01 - Warning).
    pub const WARNING_STRING_DATA_RIGHT_TRUNCATION: Self = Self(*b"01004");
    /// `01P01` deprecated_feature (Class 01 - Warning).
    pub const WARNING_DEPRECATED_FEATURE: Self = Self(*b"01P01");
    /// `02000` no_data (Class 02 - No Data (this is also a warning class per the SQL standard)).
    pub const NO_DATA: Self = Self(*b"02000");
    /// `02001` no_additional_dynamic_result_sets_returned (Class 02 - No Data (this is also a
    /// warning class per the SQL standard)).
    pub const NO_ADDITIONAL_DYNAMIC_RESULT_SETS_RETURNED: Self = Self(*b"02001");
    /// `03000` sql_statement_not_yet_complete (Class 03 - SQL Statement Not Yet Complete).
    pub const SQL_STATEMENT_NOT_YET_COMPLETE: Self = Self(*b"03000");
    /// `08000` connection_exception (Class 08 - Connection Exception).
    pub const CONNECTION_EXCEPTION: Self = Self(*b"08000");
    /// `08003` connection_does_not_exist (Class 08 - Connection Exception).
    pub const CONNECTION_DOES_NOT_EXIST: Self = Self(*b"08003");
    /// `08006` connection_failure (Class 08 - Connection Exception).
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// `08001` sqlclient_unable_to_establish_sqlconnection (Class 08 - Connection Exception).
    pub const SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION: Self = Self(*b"08001");
    /// `08004` sqlserver_rejected_establishment_of_sqlconnection (Class 08 - Connection Exception).
    pub const SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION: Self = Self(*b"08004");
    /// `08007` transaction_resolution_unknown (Class 08 - Connection Exception).
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    /// `08P01` protocol_violation (Class 08 - Connection Exception).
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// `09000` triggered_action_exception (Class 09 - Triggered Action Exception).
    pub const TRIGGERED_ACTION_EXCEPTION: Self = Self(*b"09000");
    /// `0A000` feature_not_supported (Class 0A - Feature Not Supported).
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `0B000` invalid_transaction_initiation (Class 0B - Invalid Transaction Initiation).
    pub const INVALID_TRANSACTION_INITIATION: Self = Self(*b"0B000");
    /// `0F000` locator_exception (Class 0F - Locator Exception).
    pub const LOCATOR_EXCEPTION: Self = Self(*b"0F000");
    /// `0F001` invalid_locator_specification (Class 0F - Locator Exception).
    pub const L_E_INVALID_SPECIFICATION: Self = Self(*b"0F001");
    /// `0L000` invalid_grantor (Class 0L - Invalid Grantor).
    pub const INVALID_GRANTOR: Self = Self(*b"0L000");
    /// `0LP01` invalid_grant_operation (Class 0L - Invalid Grantor).
    pub const INVALID_GRANT_OPERATION: Self = Self(*b"0LP01");
    /// `0P000` invalid_role_specification (Class 0P - Invalid Role Specification).
    pub const INVALID_ROLE_SPECIFICATION: Self = Self(*b"0P000");
    /// `0Z000` diagnostics_exception (Class 0Z - Diagnostics Exception).
    pub const DIAGNOSTICS_EXCEPTION: Self = Self(*b"0Z000");
    /// `0Z002` stacked_diagnostics_accessed_without_active_handler (Class 0Z - Diagnostics
    /// Exception).
    pub const STACKED_DIAGNOSTICS_ACCESSED_WITHOUT_ACTIVE_HANDLER: Self = Self(*b"0Z002");
    /// `20000` case_not_found (Class 20 - Case Not Found).
    pub const CASE_NOT_FOUND: Self = Self(*b"20000");
    /// `21000` cardinality_violation (Class 21 - Cardinality Violation).
    pub const CARDINALITY_VIOLATION: Self = Self(*b"21000");
    /// `22000` data_exception (Class 22 - Data Exception).
    pub const DATA_EXCEPTION: Self = Self(*b"22000");
    /// `2202E` array_subscript_error (Class 22 - Data Exception).
    pub const ARRAY_SUBSCRIPT_ERROR: Self = Self(*b"2202E");
    /// `22021` character_not_in_repertoire (Class 22 - Data Exception).
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    /// `22008` datetime_field_overflow (Class 22 - Data Exception).
    pub const DATETIME_FIELD_OVERFLOW: Self = Self(*b"22008");
    /// `22012` division_by_zero (Class 22 - Data Exception).
    pub const DIVISION_BY_ZERO: Self = Self(*b"22012");
    /// `22005` error_in_assignment (Class 22 - Data Exception).
    pub const ERROR_IN_ASSIGNMENT: Self = Self(*b"22005");
    /// `2200B` escape_character_conflict (Class 22 - Data Exception).
    pub const ESCAPE_CHARACTER_CONFLICT: Self = Self(*b"2200B");
    /// `22022` indicator_overflow (Class 22 - Data Exception).
    pub const INDICATOR_OVERFLOW: Self = Self(*b"22022");
    /// `22015` interval_field_overflow (Class 22 - Data Exception).
    pub const INTERVAL_FIELD_OVERFLOW: Self = Self(*b"22015");
    /// `2201E` invalid_argument_for_logarithm (Class 22 - Data Exception).
    pub const INVALID_ARGUMENT_FOR_LOG: Self = Self(*b"2201E");
    /// `22014` invalid_argument_for_ntile_function (Class 22 - Data Exception).
    pub const INVALID_ARGUMENT_FOR_NTILE: Self = Self(*b"22014");
    /// `22016` invalid_argument_for_nth_value_function (Class 22 - Data Exception).
    pub const INVALID_ARGUMENT_FOR_NTH_VALUE: Self = Self(*b"22016");
    /// `2201F` invalid_argument_for_power_function (Class 22 - Data Exception).
    pub const INVALID_ARGUMENT_FOR_POWER_FUNCTION: Self = Self(*b"2201F");
    /// `2201G` invalid_argument_for_width_bucket_function (Class 22 - Data Exception).
    pub const INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION: Self = Self(*b"2201G");
    /// `22018` invalid_character_value_for_cast (Class 22 - Data Exception).
    pub const INVALID_CHARACTER_VALUE_FOR_CAST: Self = Self(*b"22018");
    /// `22007` invalid_datetime_format (Class 22 - Data Exception).
    pub const INVALID_DATETIME_FORMAT: Self = Self(*b"22007");
    /// `22019` invalid_escape_character (Class 22 - Data Exception).
    pub const INVALID_ESCAPE_CHARACTER: Self = Self(*b"22019");
    /// `2200D` invalid_escape_octet (Class 22 - Data Exception).
    pub const INVALID_ESCAPE_OCTET: Self = Self(*b"2200D");
    /// `22025` invalid_escape_sequence (Class 22 - Data Exception).
    pub const INVALID_ESCAPE_SEQUENCE: Self = Self(*b"22025");
    /// `22P06` nonstandard_use_of_escape_character (Class 22 - Data Exception).
    pub const NONSTANDARD_USE_OF_ESCAPE_CHARACTER: Self = Self(*b"22P06");
    /// `22010` invalid_indicator_parameter_value (Class 22 - Data Exception).
    pub const INVALID_INDICATOR_PARAMETER_VALUE: Self = Self(*b"22010");
    /// `22023` invalid_parameter_value (Class 22 - Data Exception).
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// `22013` invalid_preceding_or_following_size (Class 22 - Data Exception).
    pub const INVALID_PRECEDING_OR_FOLLOWING_SIZE: Self = Self(*b"22013");
    /// `2201B` invalid_regular_expression (Class 22 - Data Exception).
    pub const INVALID_REGULAR_EXPRESSION: Self = Self(*b"2201B");
    /// `2201W` invalid_row_count_in_limit_clause (Class 22 - Data Exception).
    pub const INVALID_ROW_COUNT_IN_LIMIT_CLAUSE: Self = Self(*b"2201W");
    /// `2201X` invalid_row_count_in_result_offset_clause (Class 22 - Data Exception).
    pub const INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE: Self = Self(*b"2201X");
    /// `2202H` invalid_tablesample_argument (Class 22 - Data Exception).
    pub const INVALID_TABLESAMPLE_ARGUMENT: Self = Self(*b"2202H");
    /// `2202G` invalid_tablesample_repeat (Class 22 - Data Exception).
    pub const INVALID_TABLESAMPLE_REPEAT: Self = Self(*b"2202G");
    /// `22009` invalid_time_zone_displacement_value (Class 22 - Data Exception).
    pub const INVALID_TIME_ZONE_DISPLACEMENT_VALUE: Self = Self(*b"22009");
    /// `2200C` invalid_use_of_escape_character (Class 22 - Data Exception).
    pub const INVALID_USE_OF_ESCAPE_CHARACTER: Self = Self(*b"2200C");
    /// `2200G` most_specific_type_mismatch (Class 22 - Data Exception).
    pub const MOST_SPECIFIC_TYPE_MISMATCH: Self = Self(*b"2200G");
    /// `22004` null_value_not_allowed (Class 22 - Data Exception).
    pub const NULL_VALUE_NOT_ALLOWED: Self = Self(*b"22004");
    /// `22002` null_value_no_indicator_parameter (Class 22 - Data Exception).
    pub const NULL_VALUE_NO_INDICATOR_PARAMETER: Self = Self(*b"22002");
    /// `22003` numeric_value_out_of_range (Class 22 - Data Exception).
    pub const NUMERIC_VALUE_OUT_OF_RANGE: Self = Self(*b"22003");
    /// `2200H` sequence_generator_limit_exceeded (Class 22 - Data Exception).
    pub const SEQUENCE_GENERATOR_LIMIT_EXCEEDED: Self = Self(*b"2200H");
    /// `22026` string_data_length_mismatch (Class 22 - Data Exception).
    pub const STRING_DATA_LENGTH_MISMATCH: Self = Self(*b"22026");
    /// `22001` string_data_right_truncation (Class 22 - Data Exception).
    pub const STRING_DATA_RIGHT_TRUNCATION: Self = Self(*b"22001");
    /// `22011` substring_error (Class 22 - Data Exception).
    pub const SUBSTRING_ERROR: Self = Self(*b"22011");
    /// `22027` trim_error (Class 22 - Data Exception).
    pub const TRIM_ERROR: Self = Self(*b"22027");
    /// `22024` unterminated_c_string (Class 22 - Data Exception).
    pub const UNTERMINATED_C_STRING: Self = Self(*b"22024");
    /// `2200F` zero_length_character_string (Class 22 - Data Exception).
    pub const ZERO_LENGTH_CHARACTER_STRING: Self = Self(*b"2200F");
    /// `22P01` floating_point_exception (Class 22 - Data Exception).
    pub const FLOATING_POINT_EXCEPTION: Self = Self(*b"22P01");
    /// `22P02` invalid_text_representation (Class 22 - Data Exception).
    pub const INVALID_TEXT_REPRESENTATION: Self = Self(*b"22P02");
    /// `22P03` invalid_binary_representation (Class 22 - Data Exception).
    pub const INVALID_BINARY_REPRESENTATION: Self = Self(*b"22P03");
    /// `22P04` bad_copy_file_format (Class 22 - Data Exception).
    pub const BAD_COPY_FILE_FORMAT: Self = Self(*b"22P04");
    /// `22P05` untranslatable_character (Class 22 - Data Exception).
    pub const UNTRANSLATABLE_CHARACTER: Self = Self(*b"22P05");
    /// `2200L` not_an_xml_document (Class 22 - Data Exception).
    pub const NOT_AN_XML_DOCUMENT: Self = Self(*b"2200L");
    /// `2200M` invalid_xml_document (Class 22 - Data Exception).
    pub const INVALID_XML_DOCUMENT: Self = Self(*b"2200M");
    /// `2200N` invalid_xml_content (Class 22 - Data Exception).
    pub const INVALID_XML_CONTENT: Self = Self(*b"2200N");
    /// `2200S` invalid_xml_comment (Class 22 - Data Exception).
    pub const INVALID_XML_COMMENT: Self = Self(*b"2200S");
    /// `2200T` invalid_xml_processing_instruction (Class 22 - Data Exception).
    pub const INVALID_XML_PROCESSING_INSTRUCTION: Self = Self(*b"2200T");
    /// `22030` duplicate_json_object_key_value (Class 22 - Data Exception).
    pub const DUPLICATE_JSON_OBJECT_KEY_VALUE: Self = Self(*b"22030");
    /// `22031` invalid_argument_for_sql_json_datetime_function (Class 22 - Data Exception).
    pub const INVALID_ARGUMENT_FOR_SQL_JSON_DATETIME_FUNCTION: Self = Self(*b"22031");
    /// `22032` invalid_json_text (Class 22 - Data Exception).
    pub const INVALID_JSON_TEXT: Self = Self(*b"22032");
    /// `22033` invalid_sql_json_subscript (Class 22 - Data Exception).
    pub const INVALID_SQL_JSON_SUBSCRIPT: Self = Self(*b"22033");
    /// `22034` more_than_one_sql_json_item (Class 22 - Data Exception).
    pub const MORE_THAN_ONE_SQL_JSON_ITEM: Self = Self(*b"22034");
    /// `22035` no_sql_json_item (Class 22 - Data Exception).
    pub const NO_SQL_JSON_ITEM: Self = Self(*b"22035");
    /// `22036` non_numeric_sql_json_item (Class 22 - Data Exception).
    pub const NON_NUMERIC_SQL_JSON_ITEM: Self = Self(*b"22036");
    /// `22037` non_unique_keys_in_a_json_object (Class 22 - Data Exception).
    pub const NON_UNIQUE_KEYS_IN_A_JSON_OBJECT: Self = Self(*b"22037");
    /// `22038` singleton_sql_json_item_required (Class 22 - Data Exception).
    pub const SINGLETON_SQL_JSON_ITEM_REQUIRED: Self = Self(*b"22038");
    /// `22039` sql_json_array_not_found (Class 22 - Data Exception).
    pub const SQL_JSON_ARRAY_NOT_FOUND: Self = Self(*b"22039");
    /// `2203A` sql_json_member_not_found (Class 22 - Data Exception).
    pub const SQL_JSON_MEMBER_NOT_FOUND: Self = Self(*b"2203A");
    /// `2203B` sql_json_number_not_found (Class 22 - Data Exception).
    pub const SQL_JSON_NUMBER_NOT_FOUND: Self = Self(*b"2203B");
    /// `2203C` sql_json_object_not_found (Class 22 - Data Exception).
    pub const SQL_JSON_OBJECT_NOT_FOUND: Self = Self(*b"2203C");
    /// `2203D` too_many_json_array_elements (Class 22 - Data Exception).
    pub const TOO_MANY_JSON_ARRAY_ELEMENTS: Self = Self(*b"2203D");
    /// `2203E` too_many_json_object_members (Class 22 - Data Exception).
    pub const TOO_MANY_JSON_OBJECT_MEMBERS: Self = Self(*b"2203E");
    /// `2203F` sql_json_scalar_required (Class 22 - Data Exception).
    pub const SQL_JSON_SCALAR_REQUIRED: Self = Self(*b"2203F");
    /// `2203G` sql_json_item_cannot_be_cast_to_target_type (Class 22 - Data Exception).
    pub const SQL_JSON_ITEM_CANNOT_BE_CAST_TO_TARGET_TYPE: Self = Self(*b"2203G");
    /// `23000` integrity_constraint_violation (Class 23 - Integrity Constraint Violation).
    pub const INTEGRITY_CONSTRAINT_VIOLATION: Self = Self(*b"23000");
    /// `23001` restrict_violation (Class 23 - Integrity Constraint Violation).
    pub const RESTRICT_VIOLATION: Self = Self(*b"23001");
    /// `23502` not_null_violation (Class 23 - Integrity Constraint Violation).
    pub const NOT_NULL_VIOLATION: Self = Self(*b"23502");
    /// `23503` foreign_key_violation (Class 23 - Integrity Constraint Violation).
    pub const FOREIGN_KEY_VIOLATION: Self = Self(*b"23503");
    /// `23505` unique_violation (Class 23 - Integrity Constraint Violation).
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");
    /// `23514` check_violation (Class 23 - Integrity Constraint Violation).
    pub const CHECK_VIOLATION: Self = Self(*b"23514");
    /// `23P01` exclusion_violation (Class 23 - Integrity Constraint Violation).
    pub const EXCLUSION_VIOLATION: Self = Self(*b"23P01");
    /// `24000` invalid_cursor_state (Class 24 - Invalid Cursor State).
    pub const INVALID_CURSOR_STATE: Self = Self(*b"24000");
    /// `25000` invalid_transaction_state (Class 25 - Invalid Transaction State).
    pub const INVALID_TRANSACTION_STATE: Self = Self(*b"25000");
    /// `25001` active_sql_transaction (Class 25 - Invalid Transaction State).
    pub const ACTIVE_SQL_TRANSACTION: Self = Self(*b"25001");
    /// `25002` branch_transaction_already_active (Class 25 - Invalid Transaction State).
    pub const BRANCH_TRANSACTION_ALREADY_ACTIVE: Self = Self(*b"25002");
    /// `25008` held_cursor_requires_same_isolation_level (Class 25 - Invalid Transaction State).
    pub const HELD_CURSOR_REQUIRES_SAME_ISOLATION_LEVEL: Self = Self(*b"25008");
    /// `25003` inappropriate_access_mode_for_branch_transaction (Class 25 - Invalid Transaction
    /// State).
    pub const INAPPROPRIATE_ACCESS_MODE_FOR_BRANCH_TRANSACTION: Self = Self(*b"25003");
    /// `25004` inappropriate_isolation_level_for_branch_transaction (Class 25 - Invalid Transaction
    /// State).
    pub const INAPPROPRIATE_ISOLATION_LEVEL_FOR_BRANCH_TRANSACTION: Self = Self(*b"25004");
    /// `25005` no_active_sql_transaction_for_branch_transaction (Class 25 - Invalid Transaction
    /// State).
    pub const NO_ACTIVE_SQL_TRANSACTION_FOR_BRANCH_TRANSACTION: Self = Self(*b"25005");
    /// `25006` read_only_sql_transaction (Class 25 - Invalid Transaction State).
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self(*b"25006");
    /// `25007` schema_and_data_statement_mixing_not_supported (Class 25 - Invalid Transaction
    /// State).
    pub const SCHEMA_AND_DATA_STATEMENT_MIXING_NOT_SUPPORTED: Self = Self(*b"25007");
    /// `25P01` no_active_sql_transaction (Class 25 - Invalid Transaction State).
    pub const NO_ACTIVE_SQL_TRANSACTION: Self = Self(*b"25P01");
    /// `25P02` in_failed_sql_transaction (Class 25 - Invalid Transaction State).
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self(*b"25P02");
    /// `25P03` idle_in_transaction_session_timeout (Class 25 - Invalid Transaction State).
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: Self = Self(*b"25P03");
    /// `25P04` transaction_timeout (Class 25 - Invalid Transaction State).
    pub const TRANSACTION_TIMEOUT: Self = Self(*b"25P04");
    /// `26000` invalid_sql_statement_name (Class 26 - Invalid SQL Statement Name).
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self(*b"26000");
    /// `27000` triggered_data_change_violation (Class 27 - Triggered Data Change Violation).
    pub const TRIGGERED_DATA_CHANGE_VIOLATION: Self = Self(*b"27000");
    /// `28000` invalid_authorization_specification (Class 28 - Invalid Authorization
    /// Specification).
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self(*b"28000");
    /// `28P01` invalid_password (Class 28 - Invalid Authorization Specification).
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// `2B000` dependent_privilege_descriptors_still_exist (Class 2B - Dependent Privilege
    /// Descriptors Still Exist).
    pub const DEPENDENT_PRIVILEGE_DESCRIPTORS_STILL_EXIST: Self = Self(*b"2B000");
    /// `2BP01` dependent_objects_still_exist (Class 2B - Dependent Privilege Descriptors Still
    /// Exist).
    pub const DEPENDENT_OBJECTS_STILL_EXIST: Self = Self(*b"2BP01");
    /// `2D000` invalid_transaction_termination (Class 2D - Invalid Transaction Termination).
    pub const INVALID_TRANSACTION_TERMINATION: Self = Self(*b"2D000");
    /// `2F000` sql_routine_exception (Class 2F - SQL Routine Exception).
    pub const SQL_ROUTINE_EXCEPTION: Self = Self(*b"2F000");
    /// `2F005` function_executed_no_return_statement (Class 2F - SQL Routine Exception).
    pub const S_R_E_FUNCTION_EXECUTED_NO_RETURN_STATEMENT: Self = Self(*b"2F005");
    /// `2F002` modifying_sql_data_not_permitted (Class 2F - SQL Routine Exception).
    pub const S_R_E_MODIFYING_SQL_DATA_NOT_PERMITTED: Self = Self(*b"2F002");
    /// `2F003` prohibited_sql_statement_attempted (Class 2F - SQL Routine Exception).
    pub const S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED: Self = Self(*b"2F003");
    /// `2F004` reading_sql_data_not_permitted (Class 2F - SQL Routine Exception).
    pub const S_R_E_READING_SQL_DATA_NOT_PERMITTED: Self = Self(*b"2F004");
    /// `34000` invalid_cursor_name (Class 34 - Invalid Cursor Name).
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    /// `38000` external_routine_exception (Class 38 - External Routine Exception).
    pub const EXTERNAL_ROUTINE_EXCEPTION: Self = Self(*b"38000");
    /// `38001` containing_sql_not_permitted (Class 38 - External Routine Exception).
    pub const E_R_E_CONTAINING_SQL_NOT_PERMITTED: Self = Self(*b"38001");
    /// `38002` modifying_sql_data_not_permitted (Class 38 - External Routine Exception).
    pub const E_R_E_MODIFYING_SQL_DATA_NOT_PERMITTED: Self = Self(*b"38002");
    /// `38003` prohibited_sql_statement_attempted (Class 38 - External Routine Exception).
    pub const E_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED: Self = Self(*b"38003");
    /// `38004` reading_sql_data_not_permitted (Class 38 - External Routine Exception).
    pub const E_R_E_READING_SQL_DATA_NOT_PERMITTED: Self = Self(*b"38004");
    /// `39000` external_routine_invocation_exception (Class 39 - External Routine Invocation
    /// Exception).
    pub const EXTERNAL_ROUTINE_INVOCATION_EXCEPTION: Self = Self(*b"39000");
    /// `39001` invalid_sqlstate_returned (Class 39 - External Routine Invocation Exception).
    pub const E_R_I_E_INVALID_SQLSTATE_RETURNED: Self = Self(*b"39001");
    /// `39004` null_value_not_allowed (Class 39 - External Routine Invocation Exception).
    pub const E_R_I_E_NULL_VALUE_NOT_ALLOWED: Self = Self(*b"39004");
    /// `39P01` trigger_protocol_violated (Class 39 - External Routine Invocation Exception).
    pub const E_R_I_E_TRIGGER_PROTOCOL_VIOLATED: Self = Self(*b"39P01");
    /// `39P02` srf_protocol_violated (Class 39 - External Routine Invocation Exception).
    pub const E_R_I_E_SRF_PROTOCOL_VIOLATED: Self = Self(*b"39P02");
    /// `39P03` event_trigger_protocol_violated (Class 39 - External Routine Invocation Exception).
    pub const E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED: Self = Self(*b"39P03");
    /// `3B000` savepoint_exception (Class 3B - Savepoint Exception).
    pub const SAVEPOINT_EXCEPTION: Self = Self(*b"3B000");
    /// `3B001` invalid_savepoint_specification (Class 3B - Savepoint Exception).
    pub const S_E_INVALID_SPECIFICATION: Self = Self(*b"3B001");
    /// `3D000` invalid_catalog_name (Class 3D - Invalid Catalog Name).
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// `3F000` invalid_schema_name (Class 3F - Invalid Schema Name).
    pub const INVALID_SCHEMA_NAME: Self = Self(*b"3F000");
    /// `40000` transaction_rollback (Class 40 - Transaction Rollback).
    pub const TRANSACTION_ROLLBACK: Self = Self(*b"40000");
    /// `40002` transaction_integrity_constraint_violation (Class 40 - Transaction Rollback).
    pub const T_R_INTEGRITY_CONSTRAINT_VIOLATION: Self = Self(*b"40002");
    /// `40001` serialization_failure (Class 40 - Transaction Rollback).
    pub const T_R_SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// `40003` statement_completion_unknown (Class 40 - Transaction Rollback).
    pub const T_R_STATEMENT_COMPLETION_UNKNOWN: Self = Self(*b"40003");
    /// `40P01` deadlock_detected (Class 40 - Transaction Rollback).
    pub const T_R_DEADLOCK_DETECTED: Self = Self(*b"40P01");
    /// `42000` syntax_error_or_access_rule_violation (Class 42 - Syntax Error or Access Rule
    /// Violation).
    pub const SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION: Self = Self(*b"42000");
    /// `42601` syntax_error (Class 42 - Syntax Error or Access Rule Violation).
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// `42501` insufficient_privilege (Class 42 - Syntax Error or Access Rule Violation).
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// `42846` cannot_coerce (Class 42 - Syntax Error or Access Rule Violation).
    pub const CANNOT_COERCE: Self = Self(*b"42846");
    /// `42803` grouping_error (Class 42 - Syntax Error or Access Rule Violation).
    pub const GROUPING_ERROR: Self = Self(*b"42803");
    /// `42P20` windowing_error (Class 42 - Syntax Error or Access Rule Violation).
    pub const WINDOWING_ERROR: Self = Self(*b"42P20");
    /// `42P19` invalid_recursion (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_RECURSION: Self = Self(*b"42P19");
    /// `42830` invalid_foreign_key (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_FOREIGN_KEY: Self = Self(*b"42830");
    /// `42602` invalid_name (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_NAME: Self = Self(*b"42602");
    /// `42622` name_too_long (Class 42 - Syntax Error or Access Rule Violation).
    pub const NAME_TOO_LONG: Self = Self(*b"42622");
    /// `42939` reserved_name (Class 42 - Syntax Error or Access Rule Violation).
    pub const RESERVED_NAME: Self = Self(*b"42939");
    /// `42804` datatype_mismatch (Class 42 - Syntax Error or Access Rule Violation).
    pub const DATATYPE_MISMATCH: Self = Self(*b"42804");
    /// `42P18` indeterminate_datatype (Class 42 - Syntax Error or Access Rule Violation).
    pub const INDETERMINATE_DATATYPE: Self = Self(*b"42P18");
    /// `42P21` collation_mismatch (Class 42 - Syntax Error or Access Rule Violation).
    pub const COLLATION_MISMATCH: Self = Self(*b"42P21");
    /// `42P22` indeterminate_collation (Class 42 - Syntax Error or Access Rule Violation).
    pub const INDETERMINATE_COLLATION: Self = Self(*b"42P22");
    /// `42809` wrong_object_type (Class 42 - Syntax Error or Access Rule Violation).
    pub const WRONG_OBJECT_TYPE: Self = Self(*b"42809");
    /// `428C9` generated_always (Class 42 - Syntax Error or Access Rule Violation).
    pub const GENERATED_ALWAYS: Self = Self(*b"428C9");
    /// `42703` undefined_column (Class 42 - Syntax Error or Access Rule Violation).
    pub const UNDEFINED_COLUMN: Self = Self(*b"42703");
    /// `42883` undefined_function (Class 42 - Syntax Error or Access Rule Violation).
    pub const UNDEFINED_FUNCTION: Self = Self(*b"42883");
    /// `42P01` undefined_table (Class 42 - Syntax Error or Access Rule Violation).
    pub const UNDEFINED_TABLE: Self = Self(*b"42P01");
    /// `42P02` undefined_parameter (Class 42 - Syntax Error or Access Rule Violation).
    pub const UNDEFINED_PARAMETER: Self = Self(*b"42P02");
    /// `42704` undefined_object (Class 42 - Syntax Error or Access Rule Violation).
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// `42701` duplicate_column (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_COLUMN: Self = Self(*b"42701");
    /// `42P03` duplicate_cursor (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_CURSOR: Self = Self(*b"42P03");
    /// `42P04` duplicate_database (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_DATABASE: Self = Self(*b"42P04");
    /// `42723` duplicate_function (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_FUNCTION: Self = Self(*b"42723");
    /// `42P05` duplicate_prepared_statement (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_PSTATEMENT: Self = Self(*b"42P05");
    /// `42P06` duplicate_schema (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_SCHEMA: Self = Self(*b"42P06");
    /// `42P07` duplicate_table (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_TABLE: Self = Self(*b"42P07");
    /// `42712` duplicate_alias (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_ALIAS: Self = Self(*b"42712");
    /// `42710` duplicate_object (Class 42 - Syntax Error or Access Rule Violation).
    pub const DUPLICATE_OBJECT: Self = Self(*b"42710");
    /// `42702` ambiguous_column (Class 42 - Syntax Error or Access Rule Violation).
    pub const AMBIGUOUS_COLUMN: Self = Self(*b"42702");
    /// `42725` ambiguous_function (Class 42 - Syntax Error or Access Rule Violation).
    pub const AMBIGUOUS_FUNCTION: Self = Self(*b"42725");
    /// `42P08` ambiguous_parameter (Class 42 - Syntax Error or Access Rule Violation).
    pub const AMBIGUOUS_PARAMETER: Self = Self(*b"42P08");
    /// `42P09` ambiguous_alias (Class 42 - Syntax Error or Access Rule Violation).
    pub const AMBIGUOUS_ALIAS: Self = Self(*b"42P09");
    /// `42P10` invalid_column_reference (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_COLUMN_REFERENCE: Self = Self(*b"42P10");
    /// `42611` invalid_column_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_COLUMN_DEFINITION: Self = Self(*b"42611");
    /// `42P11` invalid_cursor_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_CURSOR_DEFINITION: Self = Self(*b"42P11");
    /// `42P12` invalid_database_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_DATABASE_DEFINITION: Self = Self(*b"42P12");
    /// `42P13` invalid_function_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_FUNCTION_DEFINITION: Self = Self(*b"42P13");
    /// `42P14` invalid_prepared_statement_definition (Class 42 - Syntax Error or Access Rule
    /// Violation).
    pub const INVALID_PSTATEMENT_DEFINITION: Self = Self(*b"42P14");
    /// `42P15` invalid_schema_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_SCHEMA_DEFINITION: Self = Self(*b"42P15");
    /// `42P16` invalid_table_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_TABLE_DEFINITION: Self = Self(*b"42P16");
    /// `42P17` invalid_object_definition (Class 42 - Syntax Error or Access Rule Violation).
    pub const INVALID_OBJECT_DEFINITION: Self = Self(*b"42P17");
    /// `44000` with_check_option_violation (Class 44 - WITH CHECK OPTION Violation).
    pub const WITH_CHECK_OPTION_VIOLATION: Self = Self(*b"44000");
    /// `53000` insufficient_resources (Class 53 - Insufficient Resources).
    pub const INSUFFICIENT_RESOURCES: Self = Self(*b"53000");
    /// `53100` disk_full (Class 53 - Insufficient Resources).
    pub const DISK_FULL: Self = Self(*b"53100");
    /// `53200` out_of_memory (Class 53 - Insufficient Resources).
    pub const OUT_OF_MEMORY: Self = Self(*b"53200");
    /// `53300` too_many_connections (Class 53 - Insufficient Resources).
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// `53400` configuration_limit_exceeded (Class 53 - Insufficient Resources).
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    /// `54000` program_limit_exceeded (Class 54 - Program Limit Exceeded).
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// `54001` statement_too_complex (Class 54 - Program Limit Exceeded).
    pub const STATEMENT_TOO_COMPLEX: Self = Self(*b"54001");
    /// `54011` too_many_columns (Class 54 - Program Limit Exceeded).
    pub const TOO_MANY_COLUMNS: Self = Self(*b"54011");
    /// `54023` too_many_arguments (Class 54 - Program Limit Exceeded).
    pub const TOO_MANY_ARGUMENTS: Self = Self(*b"54023");
    /// `55000` object_not_in_prerequisite_state (Class 55 - Object Not In Prerequisite State).
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    /// `55006` object_in_use (Class 55 - Object Not In Prerequisite State).
    pub const OBJECT_IN_USE: Self = Self(*b"55006");
    /// `55P02` cant_change_runtime_param (Class 55 - Object Not In Prerequisite State).
    pub const CANT_CHANGE_RUNTIME_PARAM: Self = Self(*b"55P02");
    /// `55P03` lock_not_available (Class 55 - Object Not In Prerequisite State).
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    /// `55P04` unsafe_new_enum_value_usage (Class 55 - Object Not In Prerequisite State).
    pub const UNSAFE_NEW_ENUM_VALUE_USAGE: Self = Self(*b"55P04");
    /// `57000` operator_intervention (Class 57 - Operator Intervention).
    pub const OPERATOR_INTERVENTION: Self = Self(*b"57000");
    /// `57014` query_canceled (Class 57 - Operator Intervention).
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `57P01` admin_shutdown (Class 57 - Operator Intervention).
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// `57P02` crash_shutdown (Class 57 - Operator Intervention).
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// `57P03` cannot_connect_now (Class 57 - Operator Intervention).
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// `57P04` database_dropped (Class 57 - Operator Intervention).
    pub const DATABASE_DROPPED: Self = Self(*b"57P04");
    /// `57P05` idle_session_timeout (Class 57 - Operator Intervention).
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");
    /// `58000` system_error (Class 58 - System Error (errors external to PostgreSQL itself)).
    pub const SYSTEM_ERROR: Self = Self(*b"58000");
    /// `58030` io_error (Class 58 - System Error (errors external to PostgreSQL itself)).
    pub const IO_ERROR: Self = Self(*b"58030");
    /// `58P01` undefined_file (Class 58 - System Error (errors external to PostgreSQL itself)).
    pub const UNDEFINED_FILE: Self = Self(*b"58P01");
    /// `58P02` duplicate_file (Class 58 - System Error (errors external to PostgreSQL itself)).
    pub const DUPLICATE_FILE: Self = Self(*b"58P02");
    /// `72000` snapshot_too_old (Class 72 - Snapshot Failure).
    pub const SNAPSHOT_TOO_OLD: Self = Self(*b"72000");
    /// `F0000` config_file_error (Class F0 - Configuration File Error).
    pub const CONFIG_FILE_ERROR: Self = Self(*b"F0000");
    /// `F0001` lock_file_exists (Class F0 - Configuration File Error).
    pub const LOCK_FILE_EXISTS: Self = Self(*b"F0001");
    /// `HV000` fdw_error (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_ERROR: Self = Self(*b"HV000");
    /// `HV005` fdw_column_name_not_found (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_COLUMN_NAME_NOT_FOUND: Self = Self(*b"HV005");
    /// `HV002` fdw_dynamic_parameter_value_needed (Class HV - Foreign Data Wrapper Error
    /// (SQL/MED)).
    pub const FDW_DYNAMIC_PARAMETER_VALUE_NEEDED: Self = Self(*b"HV002");
    /// `HV010` fdw_function_sequence_error (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_FUNCTION_SEQUENCE_ERROR: Self = Self(*b"HV010");
    /// `HV021` fdw_inconsistent_descriptor_information (Class HV - Foreign Data Wrapper Error
    /// (SQL/MED)).
    pub const FDW_INCONSISTENT_DESCRIPTOR_INFORMATION: Self = Self(*b"HV021");
    /// `HV024` fdw_invalid_attribute_value (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_ATTRIBUTE_VALUE: Self = Self(*b"HV024");
    /// `HV007` fdw_invalid_column_name (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_COLUMN_NAME: Self = Self(*b"HV007");
    /// `HV008` fdw_invalid_column_number (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_COLUMN_NUMBER: Self = Self(*b"HV008");
    /// `HV004` fdw_invalid_data_type (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_DATA_TYPE: Self = Self(*b"HV004");
    /// `HV006` fdw_invalid_data_type_descriptors (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_DATA_TYPE_DESCRIPTORS: Self = Self(*b"HV006");
    /// `HV091` fdw_invalid_descriptor_field_identifier (Class HV - Foreign Data Wrapper Error
    /// (SQL/MED)).
    pub const FDW_INVALID_DESCRIPTOR_FIELD_IDENTIFIER: Self = Self(*b"HV091");
    /// `HV00B` fdw_invalid_handle (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_HANDLE: Self = Self(*b"HV00B");
    /// `HV00C` fdw_invalid_option_index (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_OPTION_INDEX: Self = Self(*b"HV00C");
    /// `HV00D` fdw_invalid_option_name (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_OPTION_NAME: Self = Self(*b"HV00D");
    /// `HV090` fdw_invalid_string_length_or_buffer_length (Class HV - Foreign Data Wrapper Error
    /// (SQL/MED)).
    pub const FDW_INVALID_STRING_LENGTH_OR_BUFFER_LENGTH: Self = Self(*b"HV090");
    /// `HV00A` fdw_invalid_string_format (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_STRING_FORMAT: Self = Self(*b"HV00A");
    /// `HV009` fdw_invalid_use_of_null_pointer (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_INVALID_USE_OF_NULL_POINTER: Self = Self(*b"HV009");
    /// `HV014` fdw_too_many_handles (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_TOO_MANY_HANDLES: Self = Self(*b"HV014");
    /// `HV001` fdw_out_of_memory (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_OUT_OF_MEMORY: Self = Self(*b"HV001");
    /// `HV00P` fdw_no_schemas (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_NO_SCHEMAS: Self = Self(*b"HV00P");
    /// `HV00J` fdw_option_name_not_found (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_OPTION_NAME_NOT_FOUND: Self = Self(*b"HV00J");
    /// `HV00K` fdw_reply_handle (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_REPLY_HANDLE: Self = Self(*b"HV00K");
    /// `HV00Q` fdw_schema_not_found (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_SCHEMA_NOT_FOUND: Self = Self(*b"HV00Q");
    /// `HV00R` fdw_table_not_found (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_TABLE_NOT_FOUND: Self = Self(*b"HV00R");
    /// `HV00L` fdw_unable_to_create_execution (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_UNABLE_TO_CREATE_EXECUTION: Self = Self(*b"HV00L");
    /// `HV00M` fdw_unable_to_create_reply (Class HV - Foreign Data Wrapper Error (SQL/MED)).
    pub const FDW_UNABLE_TO_CREATE_REPLY: Self = Self(*b"HV00M");
    /// `HV00N` fdw_unable_to_establish_connection (Class HV - Foreign Data Wrapper Error
    /// (SQL/MED)).
    pub const FDW_UNABLE_TO_ESTABLISH_CONNECTION: Self = Self(*b"HV00N");
    /// `P0000` plpgsql_error (Class P0 - PL/pgSQL Error).
    pub const PLPGSQL_ERROR: Self = Self(*b"P0000");
    /// `P0001` raise_exception (Class P0 - PL/pgSQL Error).
    pub const RAISE_EXCEPTION: Self = Self(*b"P0001");
    /// `P0002` no_data_found (Class P0 - PL/pgSQL Error).
    pub const NO_DATA_FOUND: Self = Self(*b"P0002");
    /// `P0003` too_many_rows (Class P0 - PL/pgSQL Error).
    pub const TOO_MANY_ROWS: Self = Self(*b"P0003");
    /// `P0004` assert_failure (Class P0 - PL/pgSQL Error).
    pub const ASSERT_FAILURE: Self = Self(*b"P0004");
    /// `XX000` internal_error (Class XX - Internal Error).
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");
    /// `XX001` data_corrupted (Class XX - Internal Error).
    pub const DATA_CORRUPTED: Self = Self(*b"XX001");
    /// `XX002` index_corrupted (Class XX - Internal Error).
    pub const INDEX_CORRUPTED: Self = Self(*b"XX002");
}

const NAMES: &[(SqlState, &str)] = &[
    (SqlState::SUCCESSFUL_COMPLETION, "successful_completion"),
    (SqlState::WARNING, "warning"),
    (SqlState::WARNING_DYNAMIC_RESULT_SETS_RETURNED, "dynamic_result_sets_returned"),
    (SqlState::WARNING_IMPLICIT_ZERO_BIT_PADDING, "implicit_zero_bit_padding"),
    (
        SqlState::WARNING_NULL_VALUE_ELIMINATED_IN_SET_FUNCTION,
        "null_value_eliminated_in_set_function",
    ),
    (SqlState::WARNING_PRIVILEGE_NOT_GRANTED, "privilege_not_granted"),
    (SqlState::WARNING_PRIVILEGE_NOT_REVOKED, "privilege_not_revoked"),
    (SqlState::WARNING_STRING_DATA_RIGHT_TRUNCATION, "string_data_right_truncation"),
    (SqlState::WARNING_DEPRECATED_FEATURE, "deprecated_feature"),
    (SqlState::NO_DATA, "no_data"),
    (
        SqlState::NO_ADDITIONAL_DYNAMIC_RESULT_SETS_RETURNED,
        "no_additional_dynamic_result_sets_returned",
    ),
    (SqlState::SQL_STATEMENT_NOT_YET_COMPLETE, "sql_statement_not_yet_complete"),
    (SqlState::CONNECTION_EXCEPTION, "connection_exception"),
    (SqlState::CONNECTION_DOES_NOT_EXIST, "connection_does_not_exist"),
    (SqlState::CONNECTION_FAILURE, "connection_failure"),
    (
        SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        "sqlclient_unable_to_establish_sqlconnection",
    ),
    (
        SqlState::SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
        "sqlserver_rejected_establishment_of_sqlconnection",
    ),
    (SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "transaction_resolution_unknown"),
    (SqlState::PROTOCOL_VIOLATION, "protocol_violation"),
    (SqlState::TRIGGERED_ACTION_EXCEPTION, "triggered_action_exception"),
    (SqlState::FEATURE_NOT_SUPPORTED, "feature_not_supported"),
    (SqlState::INVALID_TRANSACTION_INITIATION, "invalid_transaction_initiation"),
    (SqlState::LOCATOR_EXCEPTION, "locator_exception"),
    (SqlState::L_E_INVALID_SPECIFICATION, "invalid_locator_specification"),
    (SqlState::INVALID_GRANTOR, "invalid_grantor"),
    (SqlState::INVALID_GRANT_OPERATION, "invalid_grant_operation"),
    (SqlState::INVALID_ROLE_SPECIFICATION, "invalid_role_specification"),
    (SqlState::DIAGNOSTICS_EXCEPTION, "diagnostics_exception"),
    (
        SqlState::STACKED_DIAGNOSTICS_ACCESSED_WITHOUT_ACTIVE_HANDLER,
        "stacked_diagnostics_accessed_without_active_handler",
    ),
    (SqlState::CASE_NOT_FOUND, "case_not_found"),
    (SqlState::CARDINALITY_VIOLATION, "cardinality_violation"),
    (SqlState::DATA_EXCEPTION, "data_exception"),
    (SqlState::ARRAY_SUBSCRIPT_ERROR, "array_subscript_error"),
    (SqlState::CHARACTER_NOT_IN_REPERTOIRE, "character_not_in_repertoire"),
    (SqlState::DATETIME_FIELD_OVERFLOW, "datetime_field_overflow"),
    (SqlState::DIVISION_BY_ZERO, "division_by_zero"),
    (SqlState::ERROR_IN_ASSIGNMENT, "error_in_assignment"),
    (SqlState::ESCAPE_CHARACTER_CONFLICT, "escape_character_conflict"),
    (SqlState::INDICATOR_OVERFLOW, "indicator_overflow"),
    (SqlState::INTERVAL_FIELD_OVERFLOW, "interval_field_overflow"),
    (SqlState::INVALID_ARGUMENT_FOR_LOG, "invalid_argument_for_logarithm"),
    (SqlState::INVALID_ARGUMENT_FOR_NTILE, "invalid_argument_for_ntile_function"),
    (SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE, "invalid_argument_for_nth_value_function"),
    (SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, "invalid_argument_for_power_function"),
    (
        SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION,
        "invalid_argument_for_width_bucket_function",
    ),
    (SqlState::INVALID_CHARACTER_VALUE_FOR_CAST, "invalid_character_value_for_cast"),
    (SqlState::INVALID_DATETIME_FORMAT, "invalid_datetime_format"),
    (SqlState::INVALID_ESCAPE_CHARACTER, "invalid_escape_character"),
    (SqlState::INVALID_ESCAPE_OCTET, "invalid_escape_octet"),
    (SqlState::INVALID_ESCAPE_SEQUENCE, "invalid_escape_sequence"),
    (SqlState::NONSTANDARD_USE_OF_ESCAPE_CHARACTER, "nonstandard_use_of_escape_character"),
    (SqlState::INVALID_INDICATOR_PARAMETER_VALUE, "invalid_indicator_parameter_value"),
    (SqlState::INVALID_PARAMETER_VALUE, "invalid_parameter_value"),
    (SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, "invalid_preceding_or_following_size"),
    (SqlState::INVALID_REGULAR_EXPRESSION, "invalid_regular_expression"),
    (SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE, "invalid_row_count_in_limit_clause"),
    (
        SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE,
        "invalid_row_count_in_result_offset_clause",
    ),
    (SqlState::INVALID_TABLESAMPLE_ARGUMENT, "invalid_tablesample_argument"),
    (SqlState::INVALID_TABLESAMPLE_REPEAT, "invalid_tablesample_repeat"),
    (SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE, "invalid_time_zone_displacement_value"),
    (SqlState::INVALID_USE_OF_ESCAPE_CHARACTER, "invalid_use_of_escape_character"),
    (SqlState::MOST_SPECIFIC_TYPE_MISMATCH, "most_specific_type_mismatch"),
    (SqlState::NULL_VALUE_NOT_ALLOWED, "null_value_not_allowed"),
    (SqlState::NULL_VALUE_NO_INDICATOR_PARAMETER, "null_value_no_indicator_parameter"),
    (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric_value_out_of_range"),
    (SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED, "sequence_generator_limit_exceeded"),
    (SqlState::STRING_DATA_LENGTH_MISMATCH, "string_data_length_mismatch"),
    (SqlState::STRING_DATA_RIGHT_TRUNCATION, "string_data_right_truncation"),
    (SqlState::SUBSTRING_ERROR, "substring_error"),
    (SqlState::TRIM_ERROR, "trim_error"),
    (SqlState::UNTERMINATED_C_STRING, "unterminated_c_string"),
    (SqlState::ZERO_LENGTH_CHARACTER_STRING, "zero_length_character_string"),
    (SqlState::FLOATING_POINT_EXCEPTION, "floating_point_exception"),
    (SqlState::INVALID_TEXT_REPRESENTATION, "invalid_text_representation"),
    (SqlState::INVALID_BINARY_REPRESENTATION, "invalid_binary_representation"),
    (SqlState::BAD_COPY_FILE_FORMAT, "bad_copy_file_format"),
    (SqlState::UNTRANSLATABLE_CHARACTER, "untranslatable_character"),
    (SqlState::NOT_AN_XML_DOCUMENT, "not_an_xml_document"),
    (SqlState::INVALID_XML_DOCUMENT, "invalid_xml_document"),
    (SqlState::INVALID_XML_CONTENT, "invalid_xml_content"),
    (SqlState::INVALID_XML_COMMENT, "invalid_xml_comment"),
    (SqlState::INVALID_XML_PROCESSING_INSTRUCTION, "invalid_xml_processing_instruction"),
    (SqlState::DUPLICATE_JSON_OBJECT_KEY_VALUE, "duplicate_json_object_key_value"),
    (
        SqlState::INVALID_ARGUMENT_FOR_SQL_JSON_DATETIME_FUNCTION,
        "invalid_argument_for_sql_json_datetime_function",
    ),
    (SqlState::INVALID_JSON_TEXT, "invalid_json_text"),
    (SqlState::INVALID_SQL_JSON_SUBSCRIPT, "invalid_sql_json_subscript"),
    (SqlState::MORE_THAN_ONE_SQL_JSON_ITEM, "more_than_one_sql_json_item"),
    (SqlState::NO_SQL_JSON_ITEM, "no_sql_json_item"),
    (SqlState::NON_NUMERIC_SQL_JSON_ITEM, "non_numeric_sql_json_item"),
    (SqlState::NON_UNIQUE_KEYS_IN_A_JSON_OBJECT, "non_unique_keys_in_a_json_object"),
    (SqlState::SINGLETON_SQL_JSON_ITEM_REQUIRED, "singleton_sql_json_item_required"),
    (SqlState::SQL_JSON_ARRAY_NOT_FOUND, "sql_json_array_not_found"),
    (SqlState::SQL_JSON_MEMBER_NOT_FOUND, "sql_json_member_not_found"),
    (SqlState::SQL_JSON_NUMBER_NOT_FOUND, "sql_json_number_not_found"),
    (SqlState::SQL_JSON_OBJECT_NOT_FOUND, "sql_json_object_not_found"),
    (SqlState::TOO_MANY_JSON_ARRAY_ELEMENTS, "too_many_json_array_elements"),
    (SqlState::TOO_MANY_JSON_OBJECT_MEMBERS, "too_many_json_object_members"),
    (SqlState::SQL_JSON_SCALAR_REQUIRED, "sql_json_scalar_required"),
    (
        SqlState::SQL_JSON_ITEM_CANNOT_BE_CAST_TO_TARGET_TYPE,
        "sql_json_item_cannot_be_cast_to_target_type",
    ),
    (SqlState::INTEGRITY_CONSTRAINT_VIOLATION, "integrity_constraint_violation"),
    (SqlState::RESTRICT_VIOLATION, "restrict_violation"),
    (SqlState::NOT_NULL_VIOLATION, "not_null_violation"),
    (SqlState::FOREIGN_KEY_VIOLATION, "foreign_key_violation"),
    (SqlState::UNIQUE_VIOLATION, "unique_violation"),
    (SqlState::CHECK_VIOLATION, "check_violation"),
    (SqlState::EXCLUSION_VIOLATION, "exclusion_violation"),
    (SqlState::INVALID_CURSOR_STATE, "invalid_cursor_state"),
    (SqlState::INVALID_TRANSACTION_STATE, "invalid_transaction_state"),
    (SqlState::ACTIVE_SQL_TRANSACTION, "active_sql_transaction"),
    (SqlState::BRANCH_TRANSACTION_ALREADY_ACTIVE, "branch_transaction_already_active"),
    (
        SqlState::HELD_CURSOR_REQUIRES_SAME_ISOLATION_LEVEL,
        "held_cursor_requires_same_isolation_level",
    ),
    (
        SqlState::INAPPROPRIATE_ACCESS_MODE_FOR_BRANCH_TRANSACTION,
        "inappropriate_access_mode_for_branch_transaction",
    ),
    (
        SqlState::INAPPROPRIATE_ISOLATION_LEVEL_FOR_BRANCH_TRANSACTION,
        "inappropriate_isolation_level_for_branch_transaction",
    ),
    (
        SqlState::NO_ACTIVE_SQL_TRANSACTION_FOR_BRANCH_TRANSACTION,
        "no_active_sql_transaction_for_branch_transaction",
    ),
    (SqlState::READ_ONLY_SQL_TRANSACTION, "read_only_sql_transaction"),
    (
        SqlState::SCHEMA_AND_DATA_STATEMENT_MIXING_NOT_SUPPORTED,
        "schema_and_data_statement_mixing_not_supported",
    ),
    (SqlState::NO_ACTIVE_SQL_TRANSACTION, "no_active_sql_transaction"),
    (SqlState::IN_FAILED_SQL_TRANSACTION, "in_failed_sql_transaction"),
    (SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, "idle_in_transaction_session_timeout"),
    (SqlState::TRANSACTION_TIMEOUT, "transaction_timeout"),
    (SqlState::INVALID_SQL_STATEMENT_NAME, "invalid_sql_statement_name"),
    (SqlState::TRIGGERED_DATA_CHANGE_VIOLATION, "triggered_data_change_violation"),
    (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "invalid_authorization_specification"),
    (SqlState::INVALID_PASSWORD, "invalid_password"),
    (
        SqlState::DEPENDENT_PRIVILEGE_DESCRIPTORS_STILL_EXIST,
        "dependent_privilege_descriptors_still_exist",
    ),
    (SqlState::DEPENDENT_OBJECTS_STILL_EXIST, "dependent_objects_still_exist"),
    (SqlState::INVALID_TRANSACTION_TERMINATION, "invalid_transaction_termination"),
    (SqlState::SQL_ROUTINE_EXCEPTION, "sql_routine_exception"),
    (
        SqlState::S_R_E_FUNCTION_EXECUTED_NO_RETURN_STATEMENT,
        "function_executed_no_return_statement",
    ),
    (SqlState::S_R_E_MODIFYING_SQL_DATA_NOT_PERMITTED, "modifying_sql_data_not_permitted"),
    (SqlState::S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED, "prohibited_sql_statement_attempted"),
    (SqlState::S_R_E_READING_SQL_DATA_NOT_PERMITTED, "reading_sql_data_not_permitted"),
    (SqlState::INVALID_CURSOR_NAME, "invalid_cursor_name"),
    (SqlState::EXTERNAL_ROUTINE_EXCEPTION, "external_routine_exception"),
    (SqlState::E_R_E_CONTAINING_SQL_NOT_PERMITTED, "containing_sql_not_permitted"),
    (SqlState::E_R_E_MODIFYING_SQL_DATA_NOT_PERMITTED, "modifying_sql_data_not_permitted"),
    (SqlState::E_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED, "prohibited_sql_statement_attempted"),
    (SqlState::E_R_E_READING_SQL_DATA_NOT_PERMITTED, "reading_sql_data_not_permitted"),
    (SqlState::EXTERNAL_ROUTINE_INVOCATION_EXCEPTION, "external_routine_invocation_exception"),
    (SqlState::E_R_I_E_INVALID_SQLSTATE_RETURNED, "invalid_sqlstate_returned"),
    (SqlState::E_R_I_E_NULL_VALUE_NOT_ALLOWED, "null_value_not_allowed"),
    (SqlState::E_R_I_E_TRIGGER_PROTOCOL_VIOLATED, "trigger_protocol_violated"),
    (SqlState::E_R_I_E_SRF_PROTOCOL_VIOLATED, "srf_protocol_violated"),
    (SqlState::E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED, "event_trigger_protocol_violated"),
    (SqlState::SAVEPOINT_EXCEPTION, "savepoint_exception"),
    (SqlState::S_E_INVALID_SPECIFICATION, "invalid_savepoint_specification"),
    (SqlState::INVALID_CATALOG_NAME, "invalid_catalog_name"),
    (SqlState::INVALID_SCHEMA_NAME, "invalid_schema_name"),
    (SqlState::TRANSACTION_ROLLBACK, "transaction_rollback"),
    (SqlState::T_R_INTEGRITY_CONSTRAINT_VIOLATION, "transaction_integrity_constraint_violation"),
    (SqlState::T_R_SERIALIZATION_FAILURE, "serialization_failure"),
    (SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN, "statement_completion_unknown"),
    (SqlState::T_R_DEADLOCK_DETECTED, "deadlock_detected"),
    (SqlState::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION, "syntax_error_or_access_rule_violation"),
    (SqlState::SYNTAX_ERROR, "syntax_error"),
    (SqlState::INSUFFICIENT_PRIVILEGE, "insufficient_privilege"),
    (SqlState::CANNOT_COERCE, "cannot_coerce"),
    (SqlState::GROUPING_ERROR, "grouping_error"),
    (SqlState::WINDOWING_ERROR, "windowing_error"),
    (SqlState::INVALID_RECURSION, "invalid_recursion"),
    (SqlState::INVALID_FOREIGN_KEY, "invalid_foreign_key"),
    (SqlState::INVALID_NAME, "invalid_name"),
    (SqlState::NAME_TOO_LONG, "name_too_long"),
    (SqlState::RESERVED_NAME, "reserved_name"),
    (SqlState::DATATYPE_MISMATCH, "datatype_mismatch"),
    (SqlState::INDETERMINATE_DATATYPE, "indeterminate_datatype"),
    (SqlState::COLLATION_MISMATCH, "collation_mismatch"),
    (SqlState::INDETERMINATE_COLLATION, "indeterminate_collation"),
    (SqlState::WRONG_OBJECT_TYPE, "wrong_object_type"),
    (SqlState::GENERATED_ALWAYS, "generated_always"),
    (SqlState::UNDEFINED_COLUMN, "undefined_column"),
    (SqlState::UNDEFINED_FUNCTION, "undefined_function"),
    (SqlState::UNDEFINED_TABLE, "undefined_table"),
    (SqlState::UNDEFINED_PARAMETER, "undefined_parameter"),
    (SqlState::UNDEFINED_OBJECT, "undefined_object"),
    (SqlState::DUPLICATE_COLUMN, "duplicate_column"),
    (SqlState::DUPLICATE_CURSOR, "duplicate_cursor"),
    (SqlState::DUPLICATE_DATABASE, "duplicate_database"),
    (SqlState::DUPLICATE_FUNCTION, "duplicate_function"),
    (SqlState::DUPLICATE_PSTATEMENT, "duplicate_prepared_statement"),
    (SqlState::DUPLICATE_SCHEMA, "duplicate_schema"),
    (SqlState::DUPLICATE_TABLE, "duplicate_table"),
    (SqlState::DUPLICATE_ALIAS, "duplicate_alias"),
    (SqlState::DUPLICATE_OBJECT, "duplicate_object"),
    (SqlState::AMBIGUOUS_COLUMN, "ambiguous_column"),
    (SqlState::AMBIGUOUS_FUNCTION, "ambiguous_function"),
    (SqlState::AMBIGUOUS_PARAMETER, "ambiguous_parameter"),
    (SqlState::AMBIGUOUS_ALIAS, "ambiguous_alias"),
    (SqlState::INVALID_COLUMN_REFERENCE, "invalid_column_reference"),
    (SqlState::INVALID_COLUMN_DEFINITION, "invalid_column_definition"),
    (SqlState::INVALID_CURSOR_DEFINITION, "invalid_cursor_definition"),
    (SqlState::INVALID_DATABASE_DEFINITION, "invalid_database_definition"),
    (SqlState::INVALID_FUNCTION_DEFINITION, "invalid_function_definition"),
    (SqlState::INVALID_PSTATEMENT_DEFINITION, "invalid_prepared_statement_definition"),
    (SqlState::INVALID_SCHEMA_DEFINITION, "invalid_schema_definition"),
    (SqlState::INVALID_TABLE_DEFINITION, "invalid_table_definition"),
    (SqlState::INVALID_OBJECT_DEFINITION, "invalid_object_definition"),
    (SqlState::WITH_CHECK_OPTION_VIOLATION, "with_check_option_violation"),
    (SqlState::INSUFFICIENT_RESOURCES, "insufficient_resources"),
    (SqlState::DISK_FULL, "disk_full"),
    (SqlState::OUT_OF_MEMORY, "out_of_memory"),
    (SqlState::TOO_MANY_CONNECTIONS, "too_many_connections"),
    (SqlState::CONFIGURATION_LIMIT_EXCEEDED, "configuration_limit_exceeded"),
    (SqlState::PROGRAM_LIMIT_EXCEEDED, "program_limit_exceeded"),
    (SqlState::STATEMENT_TOO_COMPLEX, "statement_too_complex"),
    (SqlState::TOO_MANY_COLUMNS, "too_many_columns"),
    (SqlState::TOO_MANY_ARGUMENTS, "too_many_arguments"),
    (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "object_not_in_prerequisite_state"),
    (SqlState::OBJECT_IN_USE, "object_in_use"),
    (SqlState::CANT_CHANGE_RUNTIME_PARAM, "cant_change_runtime_param"),
    (SqlState::LOCK_NOT_AVAILABLE, "lock_not_available"),
    (SqlState::UNSAFE_NEW_ENUM_VALUE_USAGE, "unsafe_new_enum_value_usage"),
    (SqlState::OPERATOR_INTERVENTION, "operator_intervention"),
    (SqlState::QUERY_CANCELED, "query_canceled"),
    (SqlState::ADMIN_SHUTDOWN, "admin_shutdown"),
    (SqlState::CRASH_SHUTDOWN, "crash_shutdown"),
    (SqlState::CANNOT_CONNECT_NOW, "cannot_connect_now"),
    (SqlState::DATABASE_DROPPED, "database_dropped"),
    (SqlState::IDLE_SESSION_TIMEOUT, "idle_session_timeout"),
    (SqlState::SYSTEM_ERROR, "system_error"),
    (SqlState::IO_ERROR, "io_error"),
    (SqlState::UNDEFINED_FILE, "undefined_file"),
    (SqlState::DUPLICATE_FILE, "duplicate_file"),
    (SqlState::SNAPSHOT_TOO_OLD, "snapshot_too_old"),
    (SqlState::CONFIG_FILE_ERROR, "config_file_error"),
    (SqlState::LOCK_FILE_EXISTS, "lock_file_exists"),
    (SqlState::FDW_ERROR, "fdw_error"),
    (SqlState::FDW_COLUMN_NAME_NOT_FOUND, "fdw_column_name_not_found"),
    (SqlState::FDW_DYNAMIC_PARAMETER_VALUE_NEEDED, "fdw_dynamic_parameter_value_needed"),
    (SqlState::FDW_FUNCTION_SEQUENCE_ERROR, "fdw_function_sequence_error"),
    (SqlState::FDW_INCONSISTENT_DESCRIPTOR_INFORMATION, "fdw_inconsistent_descriptor_information"),
    (SqlState::FDW_INVALID_ATTRIBUTE_VALUE, "fdw_invalid_attribute_value"),
    (SqlState::FDW_INVALID_COLUMN_NAME, "fdw_invalid_column_name"),
    (SqlState::FDW_INVALID_COLUMN_NUMBER, "fdw_invalid_column_number"),
    (SqlState::FDW_INVALID_DATA_TYPE, "fdw_invalid_data_type"),
    (SqlState::FDW_INVALID_DATA_TYPE_DESCRIPTORS, "fdw_invalid_data_type_descriptors"),
    (SqlState::FDW_INVALID_DESCRIPTOR_FIELD_IDENTIFIER, "fdw_invalid_descriptor_field_identifier"),
    (SqlState::FDW_INVALID_HANDLE, "fdw_invalid_handle"),
    (SqlState::FDW_INVALID_OPTION_INDEX, "fdw_invalid_option_index"),
    (SqlState::FDW_INVALID_OPTION_NAME, "fdw_invalid_option_name"),
    (
        SqlState::FDW_INVALID_STRING_LENGTH_OR_BUFFER_LENGTH,
        "fdw_invalid_string_length_or_buffer_length",
    ),
    (SqlState::FDW_INVALID_STRING_FORMAT, "fdw_invalid_string_format"),
    (SqlState::FDW_INVALID_USE_OF_NULL_POINTER, "fdw_invalid_use_of_null_pointer"),
    (SqlState::FDW_TOO_MANY_HANDLES, "fdw_too_many_handles"),
    (SqlState::FDW_OUT_OF_MEMORY, "fdw_out_of_memory"),
    (SqlState::FDW_NO_SCHEMAS, "fdw_no_schemas"),
    (SqlState::FDW_OPTION_NAME_NOT_FOUND, "fdw_option_name_not_found"),
    (SqlState::FDW_REPLY_HANDLE, "fdw_reply_handle"),
    (SqlState::FDW_SCHEMA_NOT_FOUND, "fdw_schema_not_found"),
    (SqlState::FDW_TABLE_NOT_FOUND, "fdw_table_not_found"),
    (SqlState::FDW_UNABLE_TO_CREATE_EXECUTION, "fdw_unable_to_create_execution"),
    (SqlState::FDW_UNABLE_TO_CREATE_REPLY, "fdw_unable_to_create_reply"),
    (SqlState::FDW_UNABLE_TO_ESTABLISH_CONNECTION, "fdw_unable_to_establish_connection"),
    (SqlState::PLPGSQL_ERROR, "plpgsql_error"),
    (SqlState::RAISE_EXCEPTION, "raise_exception"),
    (SqlState::NO_DATA_FOUND, "no_data_found"),
    (SqlState::TOO_MANY_ROWS, "too_many_rows"),
    (SqlState::ASSERT_FAILURE, "assert_failure"),
    (SqlState::INTERNAL_ERROR, "internal_error"),
    (SqlState::DATA_CORRUPTED, "data_corrupted"),
    (SqlState::INDEX_CORRUPTED, "index_corrupted"),
];
