//! What a route's row says of it beside who may use it: the words, parameters, bodies and answers of the API's description.
//!
//! A row is described where it stands, by a chain of these; [`super::openapi`] makes the document of them. What holds for every
//! route of a kind (names in the path, the token, problems) is added there and need not be said.
//! Must never: be needed to serve a request.

use super::routes::Route;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoParams, ToSchema};

/// What is said of a route.
#[derive(Clone, Default)]
pub(super) struct Doc {
    pub(super) summary: &'static str,
    pub(super) params: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) answers: Vec<(u16, Response)>,
    /// What bodies and answers refer to.
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    /// What it does, in a sentence.
    pub(super) fn says(mut self, summary: &'static str) -> Self {
        self.doc.summary = summary;
        self
    }

    /// Its query.
    pub(super) fn asks<T: IntoParams>(mut self) -> Self {
        self.doc.params.extend(T::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// One parameter of its query.
    pub(super) fn query(mut self, name: &'static str, says: &'static str) -> Self {
        self.doc.params.push(parameter(name, ParameterIn::Query, says));
        self
    }

    /// A request header that it knows.
    pub(super) fn header(mut self, name: &'static str, says: &'static str) -> Self {
        self.doc.params.push(parameter(name, ParameterIn::Header, says));
        self
    }

    /// It keeps `If-Match` and `If-None-Match`.
    pub(super) fn conditional(self) -> Self {
        self.header("If-Match", "Do it only to what has this `ETag`; `*` for whatever is there. Otherwise 412.")
            .header("If-None-Match", "`*`: do it only where there is nothing yet. Otherwise 412.")
    }

    /// A JSON body.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        let schema = self.refer::<T>();
        self.doc.body = Some(body("application/json", schema, "As described."));
        self
    }

    /// A body that is not JSON; or, after another one, what it may be instead.
    pub(super) fn takes_other(mut self, kind: &'static str, says: &'static str) -> Self {
        match &mut self.doc.body {
            None => self.doc.body = Some(body(kind, text().into(), says)),
            Some(body) => {
                body.content.insert(kind.to_owned(), ContentBuilder::new().schema(Some(text())).build().into());
                body.description = body.description.take().map(|before| format!("{before} {says}"));
            }
        }
        self
    }

    /// The same body under another content type.
    pub(super) fn or_takes(mut self, kind: &'static str) -> Self {
        if let Some(body) = &mut self.doc.body {
            body.content.insert(kind.to_owned(), ContentBuilder::new().schema(Some(text())).build().into());
        }
        self
    }

    /// A JSON answer.
    pub(super) fn gives<T: ToSchema>(mut self, status: u16, says: &'static str) -> Self {
        let schema = self.refer::<T>();
        self.answer(status, says, Some(("application/json", schema)))
    }

    /// An answer that is one of two JSON objects.
    pub(super) fn gives_either<T: ToSchema, U: ToSchema>(mut self, status: u16, says: &'static str) -> Self {
        let (one, other) = (self.refer::<T>(), self.refer::<U>());
        let either = utoipa::openapi::schema::AnyOfBuilder::new().item(one).item(other).build();
        self.answer(status, says, Some(("application/json", Schema::AnyOf(either).into())))
    }

    /// A page of a list.
    pub(super) fn gives_page<T: ToSchema>(mut self, says: &'static str) -> Self {
        let items = ArrayBuilder::new().items(self.refer::<T>());
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("The `after` of the page that follows; null on the last."));
        let page =
            ObjectBuilder::new().property("items", items).property("next", next).required("items").required("next");
        self.answer(200, says, Some(("application/json", Schema::Object(page.build()).into())))
    }

    /// An answer that is not JSON; or, after another one with this status, what it may be instead.
    pub(super) fn gives_other(self, status: u16, kind: &'static str, says: &'static str) -> Self {
        self.answer(status, says, Some((kind, text().into())))
    }

    /// An answer without a body.
    pub(super) fn gives_nothing(self, status: u16, says: &'static str) -> Self {
        self.answer(status, says, None)
    }

    /// The answers so far name the state of the thing that they show.
    pub(super) fn tagged(mut self) -> Self {
        for (_, answer) in &mut self.doc.answers {
            let header =
                HeaderBuilder::new().schema(Some(text())).description(Some("Names this state, for `If-Match`."));
            answer.headers.insert("ETag".to_owned(), header.build().into());
        }
        self
    }

    fn answer(mut self, status: u16, says: &'static str, content: Option<(&'static str, RefOr<Schema>)>) -> Self {
        let content = content.map(|(kind, schema)| (kind, ContentBuilder::new().schema(Some(schema)).build()));
        if let Some((_, answer)) = self.doc.answers.iter_mut().find(|(known, _)| *known == status) {
            answer.description = format!("{} {says}", answer.description);
            answer.content.extend(content.map(|(kind, content)| (kind.to_owned(), content.into())));
            return self;
        }
        let mut answer = ResponseBuilder::new().description(says);
        if let Some((kind, content)) = content {
            answer = answer.content(kind, content);
        }
        self.doc.answers.push((status, answer.build()));
        self
    }

    fn refer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        T::schemas(&mut self.doc.schemas);
        self.doc.schemas.push((name.clone(), T::schema()));
        RefOr::Ref(Ref::from_schema_name(name))
    }
}

/// Any text.
fn text() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).build())
}

fn parameter(name: &'static str, place: ParameterIn, says: &'static str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(says))
        .schema(Some(text()))
        .build()
}

fn body(kind: &'static str, schema: RefOr<Schema>, says: &'static str) -> RequestBody {
    RequestBodyBuilder::new()
        .content(kind, ContentBuilder::new().schema(Some(schema)).build())
        .required(Some(Required::True))
        .description(Some(says))
        .build()
}
