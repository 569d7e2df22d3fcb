//! Sends writes, and reports the item that refused them.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::attempts::may_have_written;
use super::attributes::Attributes;
use super::expression::Expression;
use super::inner::Inner;
use crate::error::Error;

/// A write whose condition failed.
pub(super) struct Refused {
    /// The item that is stored.
    pub(super) item: Attributes,
    /// Set if an attempt before the refused one may have taken effect.
    pub(super) may_have_written: bool,
}

impl Inner {
    pub(super) async fn update_item(
        &self,
        key: Attributes,
        expression: Expression<'_>,
        (condition, update): (String, String),
    ) -> Result<Option<Refused>, Error> {
        let (names, values) = expression.placeholders();
        let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let request = request
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let sent = request.send().await;
        let is_refused = UpdateItemError::is_conditional_check_failed_exception;
        self.written("UpdateItem", sent, is_refused, |error| match error {
            UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    pub(super) async fn put_item(
        &self,
        item: Attributes,
        expression: Expression<'_>,
        condition: String,
    ) -> Result<Option<Refused>, Error> {
        let (names, values) = expression.placeholders();
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let request = request
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let sent = request.send().await;
        let is_refused = PutItemError::is_conditional_check_failed_exception;
        self.written("PutItem", sent, is_refused, |error| match error {
            PutItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    /// Returns `None` if the write took effect, and the stored item if its condition failed.
    fn written<T, E>(
        &self,
        action: &str,
        sent: Result<T, SdkError<E>>,
        is_refused: fn(&E) -> bool,
        current: fn(E) -> Option<Attributes>,
    ) -> Result<Option<Refused>, Error>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match sent {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(error)) if is_refused(error.err()) => {
                let item = current(error.into_err()).unwrap_or_default();
                Ok(Some(Refused { item, may_have_written: may_have_written() }))
            }
            Err(error) => Err(self.failed(action, error)),
        }
    }
}
