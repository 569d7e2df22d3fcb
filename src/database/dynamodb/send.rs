//! The calls that write, and what refused them.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::Inner;
use super::attempts::Attempts;
use super::expression::Expression;
use super::item::Attributes;
use crate::error::Error;

/// Why a write was refused.
pub(super) struct Refused {
    /// What is stored.
    pub(super) item: Attributes,
    /// An attempt before the one that was refused may have taken effect.
    pub(super) may_have_written: bool,
}

impl Inner {
    pub(super) async fn update_item(
        &self,
        key: Attributes,
        expression: Expression,
        update: String,
        condition: String,
    ) -> Result<Option<Refused>, Error> {
        let attempts = Attempts::default();
        let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let request = request
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        let sent = self.while_throttled(send).await;
        let is_refused = UpdateItemError::is_conditional_check_failed_exception;
        self.written("UpdateItem", sent, &attempts, is_refused, |error| match error {
            UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    pub(super) async fn put_item(
        &self,
        item: Attributes,
        expression: Expression,
        condition: String,
    ) -> Result<Option<Refused>, Error> {
        let attempts = Attempts::default();
        let values = Some(expression.values).filter(|values| !values.is_empty());
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let request = request
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        let sent = self.while_throttled(send).await;
        let is_refused = PutItemError::is_conditional_check_failed_exception;
        self.written("PutItem", sent, &attempts, is_refused, |error| match error {
            PutItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    /// `None` where the write took effect; what is stored instead where its condition refused it.
    fn written<T, E>(
        &self,
        action: &str,
        sent: Result<T, SdkError<E>>,
        attempts: &Attempts,
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
                Ok(Some(Refused { item, may_have_written: attempts.may_have_written() }))
            }
            Err(error) => Err(self.failed(action, error)),
        }
    }
}
