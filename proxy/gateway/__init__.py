"""The use cases: relaying a chat, listing the models. Decides; leaves every protocol and library to the others."""
