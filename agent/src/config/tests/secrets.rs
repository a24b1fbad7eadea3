use super::*;
use proptest::prelude::*;

/// Files with a secret where people put one, right and wrong.
const FILES: &[&str] = &[
    "[otlp]\nendpoint = 'http://c:4317'\nheaders = { authorization = 'Bearer SECRET' }",
    "[otlp]\nendpoint = 'http://c:4317'\nheaders = { a = 'SECRETö', x-bin = 'SECRET', te = 'SECRET', 'Bearer SECRET' = 'x' }",
    "[otlp]\nheaders = 'authorization=SECRET'",
    "[otlp]\nheaders = { authorization = ['SECRET'], x = 'a' }",
    "[otlp]\nheaders = { authorization = { key = 'SECRET' } }",
    "[otlp]\nendpoint = 'https://user:SECRET@c:4317'",
    "[otlp]\nendpoint = 'https://c/v1?api-key=SECRET'",
    "[otlp]\nprotocol = 'grpc'\nendpoint = 'https://c/v1?api-key=SECRET'",
    "[otlp]\nmetrics = [{ headers = { a = 'SECRET' } }]",
    "[otlp]\nheaders = { authorization = 'SECRET }",
    "[otlp]\nheaders = { authorization = SECRET }",
    "[otlp]\nheaders = { authorization = \"\\SECRET\" }",
    "[otlp]\nheaders = { a = 'SECRET', a = 'SECRET' }",
    "[otlp.headers]\nauthorization = 'SECRET' 'SECRET'",
    "[otlp]\nheaders = { a = 18446744073709551616, b = SECRET }",
    "otlp = 'https://user:SECRET@c:4317'",
];

/// Variables likewise.
const ENVIRONMENTS: &[(&str, &str)] = &[
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer SECRET"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer SECRET"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer SECRET="),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,SECRET"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=%ffSECRET"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=SECRET%0a,te=SECRET"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:SECRET@c:4317"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:SECRET@c:4317"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:port?key=SECRET"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_secret_is_ever_shown(secret in "[A-Z]{8}[0-9]{4}") {
        let with = |text: &str| text.replace("SECRET", &secret);
        let files = FILES.iter().map(|file| (with(file), None));
        let variables = ENVIRONMENTS.iter().map(|(name, value)| (with(FILES[0]), Some((*name, with(value)))));
        for (file, variable) in files.chain(variables) {
            let env: Vec<_> = variable.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let shown = match load(&file, &env) {
                Ok(config) => format!("{}{:?}", config.effective(), config.effective),
                Err(error) => format!("{error}{error:?}"),
            };
            prop_assert!(!shown.contains(&secret), "{}\n{:?}\n{}", file, variable, shown);
        }
    }

    #[test]
    fn nothing_panics(
        file in "(\\[(otlp|watch|otlp\\.metrics)\\]\n)?((endpoint|protocol|ring|headers|cgroups|timeout) ?= ?('\\PC{0,8}'|[0-9.]{1,4}|\\[\\]|\\{\\})\n){0,3}\\PC{0,20}",
        value in "\\PC{0,24}",
        variable in proptest::sample::select(VARIABLES),
    ) {
        drop(load(&file, &[(variable.name, &value)]));
    }
}
